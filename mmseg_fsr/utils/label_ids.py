"""Ids with a meaning of their own in label maps; class k is k + 1."""

BACKGROUND = 0
# Pixels that are undecided or do not count.
IGNORE_INDEX = 255

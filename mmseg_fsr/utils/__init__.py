"""What stands on no other part: files, random state, label ids, clock of a run."""

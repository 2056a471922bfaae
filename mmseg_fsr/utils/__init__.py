"""Helpers that import no other part: files, random state, label ids, a run's clock."""

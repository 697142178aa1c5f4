"""Stores of vectors beyond one process: other programs that keep and search them, behind the same contract."""

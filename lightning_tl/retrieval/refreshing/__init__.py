"""Indexes made and refreshed from a finished run: the vectors of its catalogue, and of items that came later."""

"""Data sets by name: those that ship, those that are simulated, those that the user downloads.

Each is a data module of `images`, `texts` or `events` with its files and splits.
"""

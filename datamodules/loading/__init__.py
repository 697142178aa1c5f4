"""Loaders whose order and randomness follow from seed, epoch and index alone, so that a run resumes exactly.

It knows no kind of data.
"""

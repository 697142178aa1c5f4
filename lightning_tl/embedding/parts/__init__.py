"""Embeddings on their way to a file: parts that survive an interruption, joined at the end.

It knows rows and files, no model.
"""

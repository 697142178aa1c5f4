"""Recipes: found, read, explained, and written again with a run.

It builds no object.
"""

"""The pictures of a retrieval run: slices, popularity, a map of the items.

They are given arrays and names, and share style and fonts with `lightning_tl.reports.pictures`.
"""

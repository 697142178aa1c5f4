"""Images with captions: tables, folders and shards of them, and batches of pairs.

It knows no model beyond what it reads of an image and of a text.
"""

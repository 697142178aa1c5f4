"""Texts from tables and hubs, as tokens of a model's own tokenizer, in batches of like length.

It knows no model but by the `TextSpec` that it is handed.
"""

"""Approximate search over item vectors that keeps the recall on its card.

It knows vectors and ids, no model.
"""

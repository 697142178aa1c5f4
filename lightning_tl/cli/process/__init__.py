"""The process itself: output that may close, signals, and a user's own `datamodules`.

Nothing here knows a recipe.
"""

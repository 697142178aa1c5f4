"""Commands beside those of the Trainer: `embed` and `recommend`, with their options.

Options are read before torch is imported, so they import nothing heavy.
"""

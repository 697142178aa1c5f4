"""The pictures in a run folder, one a file, in one style.

They are given arrays and names; they read no run and no data module.
"""

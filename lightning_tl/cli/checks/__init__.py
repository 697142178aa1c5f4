"""Mistakes that are told before anything is built.

Each check is given values and builds nothing.
"""

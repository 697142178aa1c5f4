"""Rasters as data: tiles of many bands with their place on the Earth, and splits in space.

It knows where tiles lie and what is in them, no model.
"""

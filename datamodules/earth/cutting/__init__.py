"""Chips for training, cut from a scene by the polygons or the label raster that lie over it.

It knows scenes, labels and files, no model.
"""

"""Image models of transformers: pixels in, one vector an image out, at any size and number of bands.

Files are read and scaled in `datamodules.images`, by the spec that these give.
"""

"""Text encoders of transformers and sentence-transformers: tokens in, one vector a text out.

Texts become tokens in `datamodules.texts`, by the spec that these give.
"""

"""Models of transformers: how a folder is opened and its blocks found; `texts` and `images` beneath, CLIP between them.

It trains nothing and knows no task; heads and exports lie in `exporting`.
"""

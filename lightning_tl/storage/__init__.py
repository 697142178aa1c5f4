"""Files that are written whole or not at all, and the digests by which tensors are recognised.

It knows nothing of what is in them, and imports nothing of this project.
"""

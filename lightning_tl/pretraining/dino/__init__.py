"""DINO: a student that learns from the moving average of itself.

It knows backbones by their contract alone, and crops by the batches that hold them.
"""

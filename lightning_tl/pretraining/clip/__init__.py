"""Images and captions that find each other: CLIP, its loss over all processes, and what is searched in validation.

It knows no data module by name, and no run folder.
"""

"""Images from folders, lists and single files, read as they are stored and brought to a model's size.

It knows no model but by the `ImageSpec` that it is handed.
"""

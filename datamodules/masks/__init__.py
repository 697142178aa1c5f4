"""Images with a class for each pixel: masks as files, read beside their images and moved with them.

It knows no model but by the `ImageSpec` that it is handed.
"""

"""Maps of whole scenes: windows are read, scored and painted block by block, and joined to files that GDAL reads.

It is handed a trained module and a scene; it knows no recipe and no command line.
"""

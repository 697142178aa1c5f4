"""From a name to weights that fit: where they lie, whether all were read, which size and bands they want.

All families use it; it knows none of their classes.
"""

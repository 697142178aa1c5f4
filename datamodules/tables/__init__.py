"""Tables in every format that is read, as they are stored.

It knows no column's meaning.
"""

"""Event files of any size, read, checked, numbered and sorted once, then mapped from disk.

It knows columns and times, no split and no user history.
"""

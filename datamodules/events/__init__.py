"""Logs of who took what and when, parted by time, as queries of histories and targets.

It never lets an event before a split see one after it. Models are unknown here.
"""

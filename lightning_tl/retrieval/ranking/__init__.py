"""Exact ranks of targets among all items, in chunks, in one process or several.

It takes anything that scores items, a baseline too, and judges nothing.
"""

"""Private names of other libraries, each in one function or base class that says what it does and why.

Whatever begins with an underscore elsewhere may be gone with their next version: nothing outside this room uses one.
It imports nothing of this project, and heavy libraries only where they are used.
"""

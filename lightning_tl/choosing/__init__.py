"""Which backbone, which strategy, did transfer help, and what was forgotten: measured on the user's own data.

Measurements on features that are there already, and studies, whose runs are ordinary ones. It knows the rooms below
it, and neither the command line, which hands a study the way to run a command, nor serving.
"""

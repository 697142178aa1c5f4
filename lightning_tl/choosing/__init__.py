"""What is worth knowing before and after a transfer: which backbone, and what an adaptation forgot.

Measurements on features that are there already, and commands' work around them. It trains no network, and knows
nothing of the command line.
"""

"""Progressive unfreezing: when a phase ends, which groups train in it, and from which weights it starts.

It sets phases and asks the module for the rest; no callback writes a learning rate.
"""

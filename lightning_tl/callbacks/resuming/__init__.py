"""Checkpoints from which a run goes on exactly as if it had not stopped, and stopping in order.

It knows steps and files, no strategy.
"""

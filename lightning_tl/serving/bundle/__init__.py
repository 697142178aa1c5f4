"""A bundle: one folder with all that answering needs, and a manifest that says what is in it."""

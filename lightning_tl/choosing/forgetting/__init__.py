"""How much of what a backbone knew is left after an adaptation.

It compares features of the same samples by two backbones: it knows nothing of where the samples come from.
"""

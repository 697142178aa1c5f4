"""The linear probe: features once, then a convex problem, solved exactly or by steps.

It asks data for samples by a protocol and knows no data module.
"""

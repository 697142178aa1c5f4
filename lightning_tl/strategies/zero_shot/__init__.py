"""Answers without training: class names as texts for CLIP, hypotheses for models of entailment.

Nothing here has an optimizer.
"""

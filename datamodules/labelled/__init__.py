"""What all labelled data share: class names, targets, splits by each sample's own identity, samples of a finished run.

It knows samples by ids and digests, not what they are.
"""

"""Answering with a finished model, in a process that imports no torch: bundles, the service, batches."""

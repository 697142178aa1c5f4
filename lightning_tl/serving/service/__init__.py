"""Models over HTTP: paths, dynamic batches, limits, reloads and a graceful end. Knows models by `answering` alone."""

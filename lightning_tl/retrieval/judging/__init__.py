"""What is said of a ranking: metrics with intervals, baselines chosen on validation, slices, the report.

It reads ranks and trains nothing.
"""

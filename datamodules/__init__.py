"""Data modules for `lightning_tl`: images, and the small data sets that ship."""

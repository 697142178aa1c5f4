"""Recommendations for many users, written in parts that an interruption leaves."""

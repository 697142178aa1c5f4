"""Candidates for a backbone, compared on a user's own data: what they are, cost and are worth there."""

"""Items and users as vectors: ids, texts, pictures, profiles, histories.

A tower knows no loss and no ranking.
"""

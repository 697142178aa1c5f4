"""What a query is told apart from in training: the batch's other items, drawn and mined ones, never what the user took.

It knows no tower.
"""

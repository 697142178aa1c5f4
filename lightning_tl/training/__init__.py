"""How anything is trained: schedules, the one owner of learning rates, parameter groups, frozen weights, base modules.

`TransferModule` is the base of every strategy; pretraining and retrieval stand on the modules beneath it. Nothing here
knows a data set, a report or the command line.
"""

"""How well fixed features suit a task, without training the network that they come from.

Each score is a function of arrays: it knows neither backbones nor data modules.
"""

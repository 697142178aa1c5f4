"""A learning rate for a recipe, by one short run whose rates grow. It knows nothing of the command line."""

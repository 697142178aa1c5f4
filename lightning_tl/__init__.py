"""Transfer learning with PyTorch Lightning."""

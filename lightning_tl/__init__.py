"""Transfer learning with PyTorch Lightning."""

from lightning_tl.version import version_of_this as _version_of_this

__version__ = _version_of_this()

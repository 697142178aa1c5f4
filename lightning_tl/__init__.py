"""Transfer learning with PyTorch Lightning."""

from lightning_tl.both_datamodules import share_datamodules as _share_datamodules
from lightning_tl.moved_modules import find_moved_modules as _find_moved_modules
from lightning_tl.version import version_of_this as _version_of_this

__version__ = _version_of_this()
_share_datamodules()
_find_moved_modules()

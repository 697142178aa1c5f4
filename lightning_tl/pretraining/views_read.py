"""`ViewsRead`: what an objective reads of each image, told before any image is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lightning_tl.contracts.data import SeededBatches
from lightning_tl.pretraining.crops import Crops


@dataclass(frozen=True)
class ViewsRead:
    """What batches must hold.

    Args:
        fewest: views of an image.
        most: views of an image; None for any number.
        local: whether smaller crops are read, too.
        images: fewest in a batch of all processes; 2 where images are told from each other.
    """

    fewest: int = 1
    most: int | None = 1
    local: bool = False
    images: int = 1

    def check(self, objective: str, data: Any, processes: int) -> None:
        """Refuse data that say that their batches hold something else; those that say nothing are met in training.

        Args:
            objective: name of what reads them.
            data: a data module, which need not have been set up.
            processes: how many read a batch each.

        Raises:
            ValueError: other views, crops that nobody reads, or too few images in a batch.
        """
        name, crops = type(data).__name__, Crops.of_data(data)
        if crops is not None:
            if not self.fewest <= crops.views <= (self.most or crops.views):
                wanted = f"at least {self.fewest}" if self.most is None else str(self.fewest)
                raise ValueError(
                    f"{objective} reads {wanted} view{'s' if self.fewest > 1 else ''} of each image, and {name} makes "
                    f"{crops.views}: set views: {self.fewest}"
                )
            if crops.local and not self.local:
                raise ValueError(
                    f"{objective} reads no local crops, and {name} would make {crops.local} of each image in vain: set "
                    "local_views: 0"
                )
        if isinstance(data, SeededBatches) and data.batch_size * processes < self.images:
            raise ValueError(
                f"{objective} tells the images of a batch from each other, and batch_size is {data.batch_size}, in "
                f"{processes} process: use a batch of at least {self.images}"
            )

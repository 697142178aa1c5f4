"""The processes that share one job of embedding, as torchrun starts them."""

from __future__ import annotations

import os
from datetime import timedelta
from types import TracebackType

import torch
import torch.distributed as dist

_PATIENCE = timedelta(days=7)  # a rank may be done long before another


class Ranks:
    """This process among those of the job; alone without torchrun. Used as a context manager."""

    def __init__(self) -> None:
        self.rank, self.local_rank = int(os.environ.get("RANK", "0")), int(os.environ.get("LOCAL_RANK", "0"))
        self.world_size = int(os.environ.get("WORLD_SIZE", "1"))
        self.local_world_size = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))

    def __enter__(self) -> Ranks:
        if self.world_size > 1 and not dist.is_initialized():
            dist.init_process_group("gloo", timeout=_PATIENCE)  # only for waiting: embeddings travel as files
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and self.world_size > 1 and dist.is_initialized():
            dist.destroy_process_group()

    def wait(self) -> None:
        """Go on when all are here."""
        if self.world_size > 1:
            dist.barrier()

    def device(self, accelerator: str) -> torch.device:
        """This process's device.

        Args:
            accelerator: as the Trainer takes it: "auto", "cpu", "gpu", "cuda" or "mps".

        Raises:
            ValueError: for more processes than GPUs.
        """
        if accelerator == "cpu":
            return torch.device("cpu")
        gpus = torch.cuda.device_count()
        if gpus:
            if self.local_rank >= gpus:
                raise ValueError(
                    f"process {self.local_rank + 1} has no GPU, this machine has {gpus}: start {gpus} processes, or "
                    "add --trainer.accelerator=cpu"
                )
            return torch.device("cuda", self.local_rank)
        if torch.backends.mps.is_available():
            return torch.device("mps")
        return torch.device("cpu")

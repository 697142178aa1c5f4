"""Whether the machine has the devices that a run asks for; checked before anything long."""

from __future__ import annotations

import os
import sys
from typing import Any

import torch

from lightning_tl.cli.errors import UserError
from lightning_tl.cli.run_folder import is_first_process


def check_devices(accelerator: Any, devices: Any) -> None:
    """Refuse more GPUs than there are; warn of more CPU processes than cores.

    Args:
        accelerator: as the Trainer takes it.
        devices: as the Trainer takes it: a number, a list of GPU numbers, text of either, or "auto".

    Raises:
        UserError: naming what was asked for and what is there.
    """
    gpus = torch.cuda.device_count()
    wanted = _count(devices)
    if accelerator in ("gpu", "cuda") or (accelerator == "auto" and gpus):
        if accelerator in ("gpu", "cuda") and gpus == 0 and not torch.backends.mps.is_available():
            raise UserError("trainer.accelerator asks for a GPU, but there is none; use --trainer.accelerator=cpu")
        if gpus and wanted > gpus:
            raise UserError(
                f"trainer.devices={devices} asks for {wanted} GPUs, but this machine has {gpus}; "
                f"use --trainer.devices={gpus} or --trainer.accelerator=cpu"
            )
        return
    cores = os.cpu_count() or 1
    if wanted > cores and is_first_process():
        print(
            f"warning: trainer.devices={devices} starts {wanted} CPU processes on {cores} cores (no GPU is used); "
            f"they will wait for each other: --trainer.devices={cores} is the most that pays",
            file=sys.stderr,
        )


def _count(devices: Any) -> int:
    """Number of devices asked for, a GPU's number counting as if all before it were needed; 0 for "all there are"."""
    if isinstance(devices, str) and devices.strip("-").isdecimal():
        devices = int(devices)
    if isinstance(devices, str) and "," in devices:
        devices = [int(part) for part in devices.split(",") if part.strip().isdecimal()]
    if isinstance(devices, list | tuple):
        return max(map(int, devices), default=-1) + 1
    return max(devices, 0) if isinstance(devices, int) else 0

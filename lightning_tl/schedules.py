"""Schedules of learning rates, by the short name that recipes give them."""

from lightning_tl.training.schedules import (
    Constant,
    CosineWithWarmup,
    OneCycle,
    Schedule,
    SlantedTriangular,
    TorchSchedule,
)

__all__ = ["Constant", "CosineWithWarmup", "OneCycle", "Schedule", "SlantedTriangular", "TorchSchedule"]

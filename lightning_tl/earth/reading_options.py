"""`ReadingOptions`: what a user says of raster files beyond what they say themselves."""

from __future__ import annotations

from dataclasses import dataclass, field

from lightning_tl.earth.scaling import ScalingOptions
from lightning_tl.earth.sensors import Sensor


@dataclass(frozen=True)
class ReadingOptions:
    """What the user says of files.

    Args:
        sensor: whose bands they hold; None where the files say.
        band_names: of the bands in their order, for files that name none.
        scaling: scale and offset.
        no_data: stored value of pixels without data; default what the file says, else the sensor.
    """

    sensor: Sensor | None = None
    band_names: tuple[str, ...] | None = None
    scaling: ScalingOptions = field(default_factory=ScalingOptions)
    no_data: float | None = None

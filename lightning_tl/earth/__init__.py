"""Rasters of satellites to input channels, without torch: bands by name, values in reflectance, indices, composites.

It knows no data set and no model. `BandReading` is everything that turns a raster into channels, so that training,
prediction and maps of whole scenes read alike. Files are read by rasterio, of the extra `earth`.
"""

from lightning_tl.earth.band_reading import BandReading, Chip
from lightning_tl.earth.bands import Band
from lightning_tl.earth.raster import Raster, open_raster
from lightning_tl.earth.sensors import LANDSAT_7, LANDSAT_8_9, NAIP, SENTINEL_2, Sensor, sensor_by_name

__all__ = [
    "LANDSAT_7",
    "LANDSAT_8_9",
    "NAIP",
    "SENTINEL_2",
    "Band",
    "BandReading",
    "Chip",
    "Raster",
    "Sensor",
    "open_raster",
    "sensor_by_name",
]

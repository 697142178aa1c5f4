"""A real scene with real labels of its land cover, as a satellite user has them: `Indian Pines`, AVIRIS, 12 June 1992.

    python -m pip install --no-deps tensorly
    python scripts/benchmarks/pines.py FOLDER          # writes scene.tif and labels.tif

The package tensorly carries the scene of Baumgardner, Biehl and Landgrebe (2015, doi 10.4231/R7RX991C, CC BY 3.0): 145
x 145 pixels of 20 m in 200 narrow bands, with the crop or cover of half of its pixels. Here the narrow bands are
averaged over the bands of Sentinel-2. Values are apparent reflectance in 10,000ths but for one factor that all bands
share (the height of the sun, which the package does not tell): counts are 500 times the radiance plus 1,000, and are
divided by the sun's irradiance in the bands of Sentinel-2A. The package tells no projection; the corner is put at a
place in UTM zone 16 near the true one, so that sizes and areas are right and places are not.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

PIXEL_M = 20.0
CORNER_M = (505_000.0, 4_480_000.0)  # easting and northing of the upper left corner, EPSG:32616
# Classes of labels.tif, and the numbers of the package's: sixteen crops by their tillage, pastures and buildings.
COVERS = {
    "corn": (2, 3, 4),
    "grass": (5, 6),
    "hay and small grain": (1, 8, 9, 13),
    "soybean": (10, 11, 12),
    "woods": (14,),
}
# Middle and width in nanometres, and the sun's irradiance in W/m²/µm, of the bands of Sentinel-2A.
BANDS = {
    "B02": (492, 66, 1959.66),
    "B03": (560, 36, 1823.24),
    "B04": (665, 31, 1512.06),
    "B05": (704, 15, 1424.64),
    "B06": (740, 15, 1287.61),
    "B07": (783, 20, 1162.08),
    "B08": (833, 106, 1041.63),
    "B8A": (865, 21, 955.32),
    "B11": (1614, 91, 245.59),
    "B12": (2202, 175, 85.25),
}


def pines() -> tuple[NDArray[np.uint16], NDArray[np.uint8]]:
    """The scene [bands, 145, 145] in 10,000ths, and labels [145, 145]: places in `COVERS`, 255 for none of them.

    Raises:
        ModuleNotFoundError: tensorly is not installed.
    """
    found = importlib.util.find_spec("tensorly")
    if found is None or found.origin is None:
        raise ModuleNotFoundError("the scene is in the package tensorly: python -m pip install --no-deps tensorly")
    folder = Path(found.origin).parent / "datasets"
    counts: NDArray[Any] = np.load(folder / "data" / "Indian_pines_corrected.npy")  # [145, 145, 200]
    numbers: NDArray[np.uint8] = np.load(folder / "data" / "Indian_pines_gt.npy")
    wavelengths = _wavelengths(folder / "data_imports.py", counts.shape[2])
    radiance = (counts.astype(np.float64) - 1000) / 500 * 10  # µW/cm²/nm/sr, times 10 W/m²/µm/sr
    bands = []
    for middle, width, irradiance in BANDS.values():
        inside = np.abs(wavelengths - middle) <= width / 2
        bands.append(np.pi * radiance[:, :, inside].mean(2) / irradiance * 10_000)
    stored = np.round(np.clip(np.stack(bands), 1, 65_535)).astype(np.uint16)
    labels = np.full(numbers.shape, 255, np.uint8)
    for place, members in enumerate(COVERS.values()):
        labels[np.isin(numbers, members)] = place
    return stored, labels


def _wavelengths(source: Path, count: int) -> NDArray[np.float64]:
    """The list in tensorly's function that loads the scene; a module of its own would need the whole package."""
    import ast

    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "wavelengths":
            values = np.array(ast.literal_eval(node.value), np.float64)
            if len(values) == count:
                return values
    raise ValueError(f"{source} has no list of {count} wavelengths: is it another version of tensorly?")


def write(folder: Path) -> tuple[Path, Path]:
    """Write scene.tif and labels.tif; returns their paths."""
    import rasterio
    from rasterio.transform import from_origin

    folder.mkdir(parents=True, exist_ok=True)
    values, labels = pines()
    common = {
        "driver": "GTiff",
        "height": values.shape[1],
        "width": values.shape[2],
        "crs": "EPSG:32616",
        "transform": from_origin(*CORNER_M, PIXEL_M, PIXEL_M),
    }
    scene, truth = folder / "scene.tif", folder / "labels.tif"
    with rasterio.open(scene, "w", count=len(values), dtype="uint16", **common) as file:
        file.write(values)
        file.descriptions = tuple(BANDS)
    with rasterio.open(truth, "w", count=1, dtype="uint8", nodata=255, **common) as file:
        file.write(labels, 1)
    categories = "".join(f"<Category>{name}</Category>" for name in COVERS)
    bands = f'<PAMRasterBand band="1"><CategoryNames>{categories}</CategoryNames></PAMRasterBand>'
    truth.with_suffix(".tif.aux.xml").write_text(f"<PAMDataset>{bands}</PAMDataset>\n")  # as GDAL keeps names
    return scene, truth


if __name__ == "__main__":
    print(*write(Path(sys.argv[1] if len(sys.argv) > 1 else "pines")))

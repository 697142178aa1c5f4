"""How much memory and time does a map of a whole scene take, and is it the same after a kill and for two processes?

    python -m pip install --no-deps xarray-spatial
    python scripts/benchmarks/map_scene.py [--sides 5000 10000] [--stride 10] [--processes 1 2] [--keep FOLDER]

The scene is a real one of Sentinel-2, 200 x 300 pixels of 10 m in four bands, that comes with xarray-spatial, mirrored
until it has the wanted size: so its pixels are real, its size is not. The run that maps it learned terciles of its NDVI
from chips of it, one epoch: labels are made, and nothing is said of how good the map is.

Every command runs in a process of its own, and is looked at five times a second: `memory` is the most that it and its
children held together (proportional: a page that several share counts once), `largest` the most of any one (resident).
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.transform import from_origin
from rasterio.windows import Window

BANDS = {"B02": "blue", "B03": "green", "B04": "red", "B08": "nir"}
CORNER_M, PIXEL_M, CRS = (600_000.0, 4_700_020.0), 10.0, "EPSG:32633"  # the zone is not told and taken as 33
CHIP, EDGE = 20, 512  # pixels
_COMMAND = "import sys; from lightning_tl.cli import main; main(sys.argv[1:])"


def real_scene() -> NDArray[np.uint16]:
    """[bands, 200, 300]."""
    found = importlib.util.find_spec("xrspatial")
    if found is None or not found.submodule_search_locations:
        raise SystemExit("the scene comes with xarray-spatial: python -m pip install --no-deps xarray-spatial")
    folder = Path(next(iter(found.submodule_search_locations))) / "datasets" / "sentinel-2"
    planes = []
    for colour in BANDS.values():
        with rasterio.open(folder / f"{colour}_band.nc") as file:
            planes.append(file.read(1))
    return np.stack(planes).round().astype(np.uint16)


def write_scene(path: Path, real: NDArray[np.uint16], height: int, width: int) -> None:
    """The scene, mirrored at its edges as often as it takes, strip by strip."""
    rows, columns = (_mirrored(size, whole) for size, whole in ((real.shape[1], height), (real.shape[2], width)))
    shape = {"height": height, "width": width, "count": len(real), "dtype": "uint16", "nodata": 0}
    place = {"crs": CRS, "transform": from_origin(*CORNER_M, PIXEL_M, PIXEL_M)}
    tiled = {"tiled": True, "blockxsize": EDGE, "blockysize": EDGE, "compress": "deflate"}
    with rasterio.open(path, "w", driver="GTiff", **shape, **place, **tiled) as file:
        file.descriptions = tuple(BANDS)
        for top in range(0, height, EDGE):
            strip = real[:, rows[top : top + EDGE]][:, :, columns]
            file.write(strip, window=Window(0, top, width, strip.shape[1]))


def _mirrored(size: int, whole: int) -> NDArray[np.int64]:
    """Places 0 to `size` - 1, there and back, until there are `whole`."""
    there = np.arange(whole) % (2 * size)
    return np.where(there < size, there, 2 * size - 1 - there)


def train(folder: Path, real: NDArray[np.uint16]) -> Path:
    """A run on chips of the real scene, whose labels are terciles of NDVI."""
    write_scene(folder / "real.tif", real, *real.shape[1:])
    red, nir = real[2].astype(np.float64), real[3].astype(np.float64)
    ndvi = (nir - red) / (nir + red)
    labels = np.digitize(ndvi, np.quantile(ndvi, [1 / 3, 2 / 3])).astype(np.uint8)
    place = {"crs": CRS, "transform": from_origin(*CORNER_M, PIXEL_M, PIXEL_M), "driver": "GTiff"}
    with rasterio.open(
        folder / "labels.tif", "w", height=labels.shape[0], width=labels.shape[1], count=1, dtype="uint8", **place
    ) as file:
        file.write(labels, 1)
    cut = ["chips", "--scene", str(folder / "real.tif"), "--labels", str(folder / "labels.tif"), f"--size={CHIP}"]
    run([*cut, "--output", str(folder / "chips"), "--block_km=0.4"])
    data = [f"--data.manifest={folder / 'chips' / 'chips.parquet'}", "--data.root=null", "--data.add_offset=0"]
    quick = ["--trainer.max_epochs=1", "--trainer.accelerator=cpu", "--report.export=false", "--test=false"]
    run(["fit", "--recipe=earth_multiband", *data, *quick, f"--run_folder={folder / 'run'}"])
    return folder / "run"


def run(arguments: list[str], kill_after: tuple[Path, int] | None = None) -> dict[str, Any]:
    """Run a command to its end, or until a folder has so many parts; what it said, seconds and the most memory.

    Args:
        arguments: of `lightning-tl`.
        kill_after: folder of parts, and how many.
    """
    started, most, largest = time.perf_counter(), 0, 0
    process = subprocess.Popen([sys.executable, "-c", _COMMAND, *arguments], stdout=subprocess.PIPE, text=True)
    while process.poll() is None:
        held = [_held(number) for number in _family(process.pid)]
        most, largest = max(most, sum(each["Pss"] for each in held)), max(largest, *(each["Rss"] for each in held))
        if kill_after is not None and len(list(kill_after[0].glob("*.npz"))) >= kill_after[1]:
            process.send_signal(signal.SIGKILL)
        time.sleep(0.2)
    said = process.stdout.read() if process.stdout is not None else ""
    if process.returncode and kill_after is None:
        raise SystemExit(f"{' '.join(arguments)} ended with {process.returncode}: {said}")
    return {
        "said": said,
        "seconds": time.perf_counter() - started,
        "memory_mib": most / 1024,
        "largest_mib": largest / 1024,
    }


def _family(number: int) -> list[int]:
    try:
        children = Path(f"/proc/{number}/task/{number}/children").read_text().split()
    except OSError:
        return [number]
    return [number, *(each for child in children for each in _family(int(child)))]


def _held(number: int) -> dict[str, int]:
    """What a process holds, in KiB: resident, and in proportion where it shares."""
    try:
        lines = Path(f"/proc/{number}/smaps_rollup").read_text().splitlines()
    except OSError:  # it ended meanwhile
        return {"Pss": 0, "Rss": 0}
    return {name: int(line.split()[1]) for line in lines for name in ("Pss", "Rss") if line.startswith(f"{name}:")}


def rates(said: str) -> dict[str, float]:
    """Pixels a second of reading and of scoring, of one process."""
    found = re.search(r"reading ([\d,]+) a second, scoring ([\d,]+) a second", said)
    if found is None:
        return {}
    return {
        name: float(number.replace(",", ""))
        for name, number in zip(("reading", "scoring"), found.groups(), strict=True)
    }


def measure(folder: Path, sides: list[int], processes: list[int], stride: int) -> list[dict[str, Any]]:
    """A row for each size and number of processes; then one for a map that was killed and goes on."""
    real = real_scene()
    trained, rows = train(folder, real), []
    for side in sides:
        scene = folder / f"scene_{side}.tif"
        write_scene(scene, real, side, side)
        first: bytes | None = None
        for count in processes:
            output = folder / f"map_{side}_{count}.tif"
            asked = ["map", f"--run={trained}", f"--scene={scene}", f"--output={output}", f"--stride={stride}"]
            asked += [
                f"--window={max(CHIP, stride)}",
                f"--processes={count}",
                "--overwrite",
                "--trainer.accelerator=cpu",
            ]
            told = run(asked)
            first = first or output.read_bytes()
            same = output.read_bytes() == first
            rows.append({"side": side, "processes": count, "same bytes": same, **_row(told)})
            print(json.dumps(rows[-1]), flush=True)
        cut = folder / f"map_{side}_killed.tif"
        asked = ["map", f"--run={trained}", f"--scene={scene}", f"--output={cut}", f"--stride={stride}"]
        asked += [f"--window={max(CHIP, stride)}", f"--processes={processes[-1]}", "--trainer.accelerator=cpu"]
        run(asked, kill_after=(folder / f"{cut.name}.parts", 1))
        kept = len(list((folder / f"{cut.name}.parts").glob("*.npz")))
        told = run(asked)
        same = cut.read_bytes() == first
        rows.append({"side": side, "killed with blocks": kept, "same bytes": same, **_row(told)})
        print(json.dumps(rows[-1]), flush=True)
    return rows


def _row(told: dict[str, Any]) -> dict[str, Any]:
    rounded = {"seconds": round(told["seconds"], 1), "memory MiB": round(told["memory_mib"])}
    rounded["largest MiB"] = round(told["largest_mib"])
    return {**rounded, **{f"{name} pixels/s": round(rate) for name, rate in rates(told["said"]).items()}}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", type=int, nargs="+", default=[5_000, 10_000], help="of the scenes, in pixels")
    parser.add_argument("--stride", type=int, default=10, help="in pixels; above a chip's side windows are as large")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--keep", type=Path, help="folder for scenes and maps; default a temporary one")
    given = parser.parse_args()
    if given.keep is not None:
        given.keep.mkdir(parents=True, exist_ok=True)
        measure(given.keep, given.sides, given.processes, given.stride)
    else:
        with tempfile.TemporaryDirectory() as scratch:
            measure(Path(scratch), given.sides, given.processes, given.stride)

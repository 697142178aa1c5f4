"""Rasters of many bands with masks."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import rasterio
import tifffile
import torch
from rasterio.transform import from_origin
from tiny_masks import CLASSES, pair

from datamodules import EarthSegmentationDataModule
from lightning_tl.contracts.batches import IGNORED
from lightning_tl.contracts.mask_legend import MaskedSamples
from lightning_tl.reports.mask_writer import MaskWriter, mask_name, of_frame

READY: dict[str, Any] = {"image_size": 16, "num_workers": 0, "batch_size": 4, "sensor": "sentinel2"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Chips of four bands with masks as GeoTIFF; of chip 3 some pixels have no data."""
    root = tmp_path_factory.mktemp("chips")
    (root / "images").mkdir()
    (root / "masks").mkdir()
    rows = []
    for k in range(16):
        image, mask = pair(k)
        bands = np.concatenate(
            [image.transpose(2, 0, 1).astype(np.uint16) * 30, 4000 + 500 * (mask[None].astype(np.int64) % 8)]
        )
        bands = np.maximum(bands, 1).astype(np.uint16)
        if k == 3:
            bands[:, 5:8, 5:8] = 0
        place = {"crs": "EPSG:32636", "transform": from_origin(500_000 + k * 2000, 5_000_000, 10, 10)}
        shape = {"driver": "GTiff", "height": 16, "width": 16}
        with rasterio.open(root / "images" / f"{k}.tif", "w", count=4, dtype="uint16", nodata=0, **shape, **place) as f:
            f.write(bands)
            f.descriptions = ("B04", "B03", "B02", "B08")
        with rasterio.open(root / "masks" / f"{k}.tif", "w", count=1, dtype="uint8", nodata=255, **shape, **place) as f:
            f.write(mask, 1)
        split = ("train", "train", "validation", "test")[k // 2 % 4]
        rows.append({"path": f"images/{k}.tif", "mask": f"masks/{k}.tif", "split": split, "block": k // 2})
    pd.DataFrame(rows).to_parquet(root / "chips.parquet")
    (root / "classes.json").write_text(json.dumps({"classes": list(CLASSES), "none": 255}))
    return root


def ready(**options: Any) -> EarthSegmentationDataModule:
    data = EarthSegmentationDataModule(**{**READY, **options})
    data.setup("fit")
    return data


def test_bands_and_masks_go_together(made: Path) -> None:
    data = ready(manifest=made / "chips.parquet", bands=["B04", "B08"], indices=["ndvi"])
    assert data.class_names == CLASSES and data.input_spec is not None
    assert data.input_spec.bands == ("red", "nir", "ndvi")
    batch = next(iter(data.val_dataloader()))
    assert batch["inputs"].shape == (4, 3, 16, 16)
    for index, target in zip(batch["index"].tolist(), batch["target"], strict=True):
        wanted = pair(index)[1].astype(np.int64)
        assert np.array_equal(target.numpy(), np.where(wanted == 255, IGNORED, wanted))
    told = data.describe()
    assert told["input"]["reading"]["bands"] == ["B04", "B08"]
    assert told["columns"]["legend"]["names"] == list(CLASSES)


def test_pixels_without_data_count_nowhere(made: Path) -> None:
    data = ready(root=made)
    (index,) = [k for k, name in enumerate(data.records.ids) if name == "images/3.tif"]
    mask = data.mask(index)
    assert (mask[5:8, 5:8] == IGNORED).all() and (mask[9:] != IGNORED).all()


def test_blocks_in_space(made: Path) -> None:
    data = ready(root=made, split="blocks", block_km=4, test_fraction=0.2)
    assert data.blocks([0]) is not None and min(len(data.indices[s]) for s in ("train", "validation", "test")) > 0


def test_options_of_images_of_a_class_are_refused(made: Path) -> None:
    with pytest.raises(ValueError, match="label_column is for images of a class"):
        EarthSegmentationDataModule(root=made, label_column="kind")


def test_a_mask_of_another_size_is_refused(made: Path, tmp_path: Path) -> None:
    table = pd.read_parquet(made / "chips.parquet").assign(path=lambda t: str(made) + "/" + t["path"])
    table["mask"] = str(made) + "/" + table["mask"]
    tifffile.imwrite(tmp_path / "m.tif", np.zeros((8, 8), np.uint8))
    table.loc[0, "mask"] = str(tmp_path / "m.tif")
    table.to_parquet(tmp_path / "t.parquet")
    with pytest.raises(OSError, match=r"m.tif is 8 x 8 pixels, and its image 0.tif 16 x 16"):
        ready(manifest=tmp_path / "t.parquet", class_names=list(CLASSES))


def test_masks_are_written_where_their_images_lie(made: Path, tmp_path: Path) -> None:
    data = ready(manifest=made / "chips.parquet")
    assert isinstance(data, MaskedSamples)
    probabilities = torch.zeros(2, 3, 8, 8)
    probabilities[:, 1, :, :4], probabilities[:, 2, :, 4:] = 1, 1
    table = MaskWriter(tmp_path, data).write([0, 5], data.sample_ids([0, 5]), probabilities)
    assert table["mask"].tolist() == ["images/0.tif", "images/5.tif"]
    assert table["pixels"].tolist() == [[0, 128, 128]] * 2
    with rasterio.open(tmp_path / "images" / "5.tif") as mask, rasterio.open(made / "images" / "5.tif") as image:
        assert mask.crs == image.crs and mask.transform == image.transform and mask.shape == image.shape
        assert mask.nodata == 255 and mask.tags()["CLASS_1"] == "wood"
        assert mask.colormap(1)[1][:3] == data.legend.colours[1]
        assert (mask.read(1)[:, :8] == 1).all() and (mask.read(1)[:, 8:] == 2).all()


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("images/a.png", "images/a.png"),
        ("a.jpg", "a.jpg.png"),
        ("/data/a.png", "data/a.png"),
        ("../../etc/a.png", "etc/a.png"),
        ("c:\\x\\a.png", "c_/x/a.png"),
        ("..", "mask.png"),
    ],
)
def test_masks_lie_below_their_folder(name: str, wanted: str) -> None:
    assert mask_name(name, None) == wanted


def test_probabilities_are_enlarged_before_a_class_is_chosen() -> None:
    given = torch.tensor([[[0.9, 0.2]], [[0.1, 0.8]]]).expand(2, 2, 2)
    found = of_frame(given, 4, 8)
    assert found.shape == (4, 8) and (found[:, :3] == 0).all() and (found[:, 5:] == 1).all()
    assert of_frame(given, 2, 1).tolist() == [[0], [0]]


@pytest.mark.parametrize(
    ("crs", "corner", "said"),
    [
        ("EPSG:32636", (500_000.0, 5_000_000.0), ""),
        ("EPSG:32636", (500_004.0, 5_000_000.0), ""),  # less than half a pixel
        ("EPSG:32636", (500_030.0, 5_000_000.0), "lies 3 pixels beside its image 0.tif: bring it to the image's grid"),
        ("EPSG:32635", (500_000.0, 5_000_000.0), "is in EPSG:32635, which is not that of its image 0.tif"),
        (None, None, ""),
    ],
)
def test_a_mask_that_lies_beside_its_image_is_refused(
    made: Path, crs: str | None, corner: tuple[float, float] | None, said: str, tmp_path: Path
) -> None:
    """Of the same size in pixels, so that only its place tells that its labels are those of other ground."""
    shutil.copytree(made, tmp_path / "data")
    place = {} if corner is None else {"crs": crs, "transform": from_origin(*corner, 10, 10)}
    shape = {"driver": "GTiff", "height": 16, "width": 16, "count": 1, "dtype": "uint8"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(tmp_path / "data" / "masks" / "0.tif", "w", **shape, **place) as file:
            file.write(pair(0)[1], 1)
    if not said:
        ready(manifest=tmp_path / "data" / "chips.parquet", bands=["B04"])
        return
    with pytest.raises(OSError, match=rf"1 of 16 masks cannot be used: .*{said}"):
        ready(manifest=tmp_path / "data" / "chips.parquet", bands=["B04"])

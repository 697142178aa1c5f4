"""`EarthDataModule`: which rasters are samples, how they are read, split in space, and what is told or refused."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch.distributed as dist
from ranks import on_two_ranks
from tiny_rasters import SENTINEL_BANDS, reflectances, write_product, write_raster

from datamodules import EarthDataModule
from lightning_tl.contracts.notice import Notice
from lightning_tl.contracts.run_description import RunDescription

NAMES = ["B02", "B03", "B04", "B08"]
KM = 1000.0


def tiles(root: Path, count: int = 12, apart: float = 5 * KM, names: Any = NAMES, **options: Any) -> Path:
    """Two classes, tiles in a row: crops bright in near infrared, water dark."""
    for k in range(2 * count):
        kind = "crop" if k % 2 else "water"
        values = reflectances(len(names or SENTINEL_BANDS), 8, seed=k)
        values[-1] += 3000 if k % 2 else 0
        corner = (300_000.0 + k * apart, 5_000_000.0)
        write_raster(root / kind / f"{kind}_{k}.tif", values, names, **{"corner": corner, **options})
    return root


def earth(root: Path | None = None, **options: Any) -> EarthDataModule:
    data = EarthDataModule(root, **{"image_size": 8, "sensor": "sentinel2", "num_workers": 0, **options})
    data.setup("fit")
    return data


def test_tiles_become_normalised_channels(tmp_path: Path) -> None:
    data = earth(tiles(tmp_path), bands=["red", "B08"], indices=["ndvi"])
    assert data.input_spec is not None and data.input_spec.bands == ("red", "nir", "ndvi") and data.channels == 3
    inputs = np.concatenate([batch["inputs"].numpy() for batch in data.cache_loader("train", 0, 0, 1)])
    assert inputs.mean((0, 2, 3)) == pytest.approx([0, 0, 0], abs=1e-4)
    assert inputs.std((0, 2, 3)) == pytest.approx([1, 1, 1], abs=1e-4)
    assert data.image(0).shape == (8, 8, 3) and data.image(0).dtype == np.uint8
    assert any("pictures show red in grey" in note for note in data.notes)
    assert data.reading.from_json(json.loads(json.dumps(data.reading.to_json()))) == data.reading


def test_pictures_can_be_compared(tmp_path: Path) -> None:
    """Haze in blue takes no part, and bright tiles are brighter than dark ones."""
    for k in range(24):
        values = reflectances(3, 8, seed=k, low=0, high=300) + (2000 if k % 2 else 600)
        values[0] += 3000
        write_raster(tmp_path / ("sand" if k % 2 else "lake") / f"{k}.tif", values.astype(np.uint16), NAMES[:3])
    data = earth(tmp_path)
    lake, sand = (
        data.image(next(k for k, name in enumerate(data.records.ids) if kind in name)) for kind in ("lake", "sand")
    )
    assert lake.mean() < 60 and sand.mean() > 190
    assert abs(sand[..., 2].mean() - sand[..., 0].mean()) < 10
    bright = np.full((8, 8, 3), 0.9, np.float32) + np.linspace(0, 0.1, 8, dtype=np.float32)[:, None, None]
    assert data.reading.composite(bright).std() > 50  # of another light: by its own values


def test_products_of_one_file_a_band_are_samples_and_their_files_are_none(tmp_path: Path) -> None:
    for k in range(8):
        write_product(tmp_path / ("crop" if k % 2 else "water"), seed=k, name=f"S2A_MSIL2A_20170613T101031_{k}_48")
    data = earth(tmp_path, bands=["B02", "B05", "B01"], sensor=None)
    assert len(data.records.ids) == 8 and data.records.ids[0] == "crop/S2A_MSIL2A_20170613T101031_1_48"
    assert data.pixels(0).shape == (12, 12, 3)
    before = data.fingerprint(data.indices["train"])
    file = tmp_path / data.records.ids[int(data.indices["train"][0])]
    write_raster(next(file.glob("*_B02.tif")), reflectances(1, 12, seed=99) + 1)
    assert data.fingerprint(data.indices["train"]) != before


def test_bands_of_several_samples_in_one_folder_are_no_samples(tmp_path: Path) -> None:
    for name in ("a_B02", "a_B03", "b_B02", "b_B03"):
        write_raster(tmp_path / "crop" / f"{name}.tif", reflectances(1, 4))
    with pytest.raises(ValueError, match=r"bands of 2 samples.*folder of its own"):
        earth(tmp_path)


def test_folders_of_bands_are_no_classes(tmp_path: Path) -> None:
    write_product(tmp_path)
    with pytest.raises(ValueError, match=r"samples right in it .*<class>/<folder of bands>"):
        earth(tmp_path)


def test_a_table_of_rasters_and_products(tmp_path: Path) -> None:
    tiles(tmp_path)
    for k in range(4):
        write_product(tmp_path / "products", seed=k, name=f"S2A_MSIL2A_20170613T101031_{k}_48")
    paths = [path.relative_to(tmp_path) for path in sorted(tmp_path.glob("*/*")) if "B" not in path.name]
    kinds = [
        ("crop" if k % 2 else "water") if "products" in str(path) else path.parts[0] for k, path in enumerate(paths)
    ]
    pd.DataFrame({"path": [str(path) for path in paths], "label": kinds}).to_csv(tmp_path / "chips.csv", index=False)
    data = earth(manifest=tmp_path / "chips.csv", bands=["blue", "nir"])
    assert len(data.records.ids) == len(paths) == 28 and data.class_names == ("crop", "water")
    assert any("sizes in pixels" in note for note in data.notes)
    assert data.describe()["columns"]["label"] == "label"


def test_blocks_of_a_table_of_chips(tmp_path: Path) -> None:
    tiles(tmp_path, 6)
    paths = sorted(tmp_path.glob("*/*.tif"))
    table = pd.DataFrame({"path": paths, "label": [path.parent.name for path in paths]})
    table["split"], table["block"] = ["train", "validation", "test"] * 4, [f"{k % 4}:0" for k in range(12)]
    table.astype(str).to_csv(tmp_path / "chips.csv", index=False)
    data = earth(manifest=tmp_path / "chips.csv")
    assert data.records.blocks is not None and len(set(data.records.blocks)) == 4


def test_a_finished_run_reads_new_files_as_its_training_did(tmp_path: Path) -> None:
    data = earth(tiles(tmp_path / "old"), indices=["ndvi"], value_range="data")
    told = data.describe()
    run = RunDescription(class_names=data.class_names, input=told["input"])
    tiles(tmp_path / "new", 3)
    new = EarthDataModule(tmp_path / "new", image_size=8, num_workers=0, bands=["B02"])
    new.read_for(run, whole=True)
    new.setup("predict")
    assert new.reading == data.reading and new.input_spec == data.input_spec
    assert new.reading.ranges[0] != (0.0, 1.0)  # percentiles of the training's images, and not of these
    eight = write_raster(tmp_path / "raw" / "crop" / "x_0.tif", reflectances(13, 8), None)
    raw = EarthDataModule(eight.parent.parent, image_size=8, num_workers=0, sensor="eurosat", add_offset=-100)
    raw.read_for(run, whole=True)
    raw.setup("predict")
    assert raw.reading.bands == data.reading.bands and raw.reading.add_offset == -100
    assert raw.channels == data.channels


def test_without_labels_every_raster_is_read(tmp_path: Path) -> None:
    data = EarthDataModule(tiles(tmp_path, 3), image_size=8, sensor="sentinel2", split="blocks", block_km=10.0)
    data.labelled = False
    assert len(data.setup_reading()) == 6 and data.channels == 4


def test_pixels_without_data_are_filled_counted_and_told(tmp_path: Path) -> None:
    tiles(tmp_path)
    hole = reflectances(4, 8)
    hole[:, :2] = 0
    write_raster(tmp_path / "crop" / "hole.tif", hole, NAMES)
    data = earth(tmp_path)
    assert any("1 of 25 images have pixels without data, 1.00%" in note for note in data.notes)
    at = next(k for k, name in enumerate(data.records.ids) if "hole" in name)
    assert data.pixels(at)[0, 0] == pytest.approx(data.input_spec.mean)  # type: ignore[union-attr]
    hole[:, :5] = 0
    write_raster(tmp_path / "crop" / "hole.tif", hole, NAMES)
    with pytest.raises(ValueError, match=r"hole.tif has no data in 62.5% of its pixels, and most_missing allows 50%"):
        earth(tmp_path)
    with pytest.warns(Notice, match=r"skipped 1 of 25.*hole"):
        data = earth(tmp_path, on_bad_image="skip")
    assert data.dropped == {"images that cannot be read": 1} and sum(map(len, data.indices.values())) == 24
    write_raster(tmp_path / "crop" / "hole.tif", hole * 0, NAMES)
    with pytest.raises(ValueError, match="no data in all of its pixels"):
        earth(tmp_path, most_missing=1.0)


def test_blocks_in_space_lie_on_one_side_and_random_splits_are_told_to_leak(tmp_path: Path) -> None:
    tiles(tmp_path, 10, apart=80.0)  # in a row, edge to edge
    data = earth(tmp_path)
    assert any("test tiles touch or overlap a training tile" in note for note in data.notes)
    apart = earth(tiles(tmp_path / "apart", 12), split="blocks", block_km=10.0)
    records = apart.records
    assert records.blocks is not None and len(set(records.blocks)) > 5
    for block in set(records.blocks):
        assert len(set(records.splits[records.blocks == block])) == 1
    assert apart.blocks([0]) is not None and not any("touch" in note for note in apart.notes)
    assert any("split in space" in note for note in apart.notes)
    near = earth(tmp_path, split="blocks", block_km=0.3, gap=True)
    assert near.dropped["training images beside those of validation or test"] > 0
    assert not any("touch or overlap" in note for note in near.notes)
    edges = earth(tmp_path, split="blocks", block_km=0.3)
    assert any("those at the edges of blocks" in note for note in edges.notes)


def test_places_from_columns(tmp_path: Path) -> None:
    tiles(tmp_path, 12, corner=None)
    paths = [str(path.relative_to(tmp_path)) for path in sorted(tmp_path.glob("*/*.tif"))]
    table = pd.DataFrame({"path": paths, "label": [path.split("/")[0] for path in paths]})
    table["lon"], table["lat"] = [10 + (k % 12) / 10 for k in range(24)], 45.0
    table.to_csv(tmp_path / "chips.csv", index=False)
    columns = {"split": "blocks", "block_km": 10, "coordinate_columns": ["lon", "lat"]}
    data = earth(manifest=tmp_path / "chips.csv", **columns)
    assert data.records.blocks is not None and len(set(data.records.blocks)) > 8
    with pytest.raises(ValueError, match="no georeference"):
        earth(tmp_path, split="blocks", block_km=10)
    table.assign(lat=95.0).to_csv(tmp_path / "chips.csv", index=False)
    with pytest.raises(ValueError, match="no place on the Earth"):
        earth(manifest=tmp_path / "chips.csv", **columns)
    with pytest.raises(ValueError, match="lat2"):
        earth(manifest=tmp_path / "chips.csv", **{**columns, "coordinate_columns": ["lon", "lat2"]})


def test_several_labels_of_a_table_of_products(tmp_path: Path) -> None:
    names = [f"S2A_MSIL2A_20170613T101031_{k}_48" for k in range(12)]
    for k, name in enumerate(names):
        write_product(tmp_path, seed=k, name=name)
    labels = [["Arable land"] if k % 2 else ["Pastures", "Urban fabric"] for k in range(12)]
    pd.DataFrame({"patch_id": names, "labels": labels}).to_parquet(tmp_path / "metadata.parquet")
    columns = {"path_column": "patch_id", "label_column": "labels", "task": "multi-label"}
    data = earth(manifest=tmp_path / "metadata.parquet", bands=["B02", "B11"], **columns)
    assert data.class_names == ("Arable land", "Pastures", "Urban fabric") and data.targets().shape == (12, 3)
    blocks = {"split": "blocks", "block_km": 50.0}
    with pytest.raises(ValueError, match="1 block of 50 km"):
        earth(manifest=tmp_path / "metadata.parquet", bands=["B02"], **columns, **blocks)


def test_given_means_fill_pixels_without_data(tmp_path: Path) -> None:
    hole = reflectances(4, 8)
    hole[:, :2] = 0
    write_raster(tiles(tmp_path) / "crop" / "hole.tif", hole, NAMES)
    data = earth(tmp_path, bands=["red"], mean=[0.25], std=[0.1])
    at = next(k for k, name in enumerate(data.records.ids) if "hole" in name)
    assert data.pixels(at)[0, 0, 0] == 0.25


def test_a_scene_is_no_sample(tmp_path: Path) -> None:
    tiles(tmp_path)
    write_raster(tmp_path / "crop" / "scene.tif", np.ones((4, 4097, 4096), np.uint8), NAMES, sparse_ok=True)
    with pytest.raises(ValueError, match=r"4,097 × 4,096 pixels, a scene.*chips"):
        earth(tmp_path, sensor=None, scale=1e-4)


def test_several_zones_sizes_and_scales_are_told(tmp_path: Path) -> None:
    tiles(tmp_path, 6)
    write_raster(tmp_path / "crop" / "zone.tif", reflectances(4, 8), NAMES, crs="EPSG:32735")
    write_raster(tmp_path / "crop" / "size.tif", reflectances(4, 16), NAMES, pixel=20.0)
    data = earth(tmp_path)
    for told in ("2 coordinate systems", "2 sizes in pixels", "2 sizes on the ground"):
        assert any(told in note for note in data.notes), told
    assert not any("touch" in note and "0 of" in note for note in data.notes)


def test_little_of_a_range_is_told_by_band(tmp_path: Path) -> None:
    for k in range(12):
        values = reflectances(4, 8, seed=k)
        values[1] = 15 + values[1] % 20
        write_raster(tmp_path / ("crop" if k % 2 else "water") / f"{k}.tif", values, NAMES)
    assert any(note.startswith("B03 has values from 0.0015") for note in earth(tmp_path).notes)
    data = earth(tmp_path, value_range="data")
    assert any("percentiles" in note and "B03 0.0015" in note for note in data.notes)
    assert not any("nearly one grey" in note for note in data.notes)
    data = earth(tmp_path, value_range={"B03": [0.0, 0.01], "nir": [0.0, 0.1]})
    assert data.reading.ranges[1] == (0.0, 0.01) and data.reading.ranges[3] == (0.0, 0.1)
    assert any("values of B08 lie outside 0…0.1" in note for note in data.notes)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"bands": ["B05"]}, "no band 'B05'; did you mean"),
        ({"indices": ["ndwii"]}, "did you mean ndwi"),
        ({"sensor": "sentinell2"}, "did you mean sentinel2"),
        ({"split": "blocks"}, "block_km"),
        ({"gap": True}, "set split to blocks"),
        ({"block_km": 0.0}, "size of a block"),
        ({"split": "blocks", "block_km": 5000.0}, "smaller blocks"),
        ({"composite": "x"}, "composite must be"),
        ({"most_missing": 1.5}, "most_missing"),
        ({"coordinate_columns": ["a", "b"]}, "manifest"),
        ({"root": None}, "give root"),
        ({"validation_fraction": 1.0}, "validation_fraction"),
        ({"class_names": ["crop", "ice"]}, "class_names lists ice"),
        ({"band_names": ["red", "nir"]}, "band_names has 2 names"),
        ({"band_names": ["red", "Red", "nir", "blue"]}, "different names"),
        ({"value_range": {"B05": [0, 1]}}, "value_range: what is read of crop_1.tif has no band 'B05'"),
        ({"sensor": "naip"}, "is one of naip"),
        ({"bands": "B02"}, "must be a list"),
    ],
)
def test_mistakes_are_refused(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    tiles(tmp_path, 4)
    with pytest.raises(ValueError, match=r".") as caught:
        earth(**{"root": tmp_path, **options})
    assert said in str(caught.value)


def test_one_file_of_other_bands_is_named_or_left_out(tmp_path: Path) -> None:
    tiles(tmp_path, 12)
    write_raster(tmp_path / "crop" / "odd.tif", reflectances(3, 8), NAMES[:3])
    with pytest.raises(ValueError, match=r"odd.tif has no band 'B08'.*1 of 25 images"):
        earth(tmp_path)
    with pytest.warns(Notice, match="odd.tif has no band"):
        assert sum(map(len, earth(tmp_path, on_bad_image="skip").indices.values())) == 24
    cut = tmp_path / "crop" / "odd.tif"
    write_raster(cut, reflectances(4, 64), NAMES, driver="COG", compress="none")
    cut.write_bytes(cut.read_bytes()[:9000])
    with pytest.raises(ValueError, match=r"odd.tif cannot be read in rows.*cut off"):
        earth(tmp_path)
    cut.unlink()
    bare = tiles(tmp_path / "bare", 12, names=None)
    with pytest.raises(ValueError, match=r"which bands .* has is not known.*EuroSAT"):
        earth(bare)
    assert earth(bare, sensor="eurosat").channels == 13
    with pytest.raises(ValueError, match=r"have no names.*band_names"):
        earth(bare, sensor=None)
    (tmp_path / "png" / "crop").mkdir(parents=True)
    (tmp_path / "png" / "crop" / "a.png").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"1 \.png"):
        earth(tmp_path / "png")


def test_splits_that_the_folders_give_are_kept(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        tiles(tmp_path / split, 3)
    data = earth(tmp_path, block_km=20.0)
    assert {split: len(members) for split, members in data.indices.items()} == {
        "train": 6, "validation": 6, "test": 6, "predict": 0
    }  # fmt: skip
    assert data.records.blocks is not None
    assert any("6 of 6 test tiles touch or overlap" in note for note in data.notes)  # the same places
    with pytest.raises(ValueError, match=r"says itself.*leave split out"):
        earth(tmp_path, split="blocks", block_km=20.0)


def test_rasters_may_be_read_without_a_look_at_each_before(tmp_path: Path) -> None:
    looked, plain = (earth(tiles(tmp_path), check_images=check, bands=["red", "nir"]) for check in (True, False))
    for data in (looked, plain):
        data.setup("fit")
    assert plain.input_spec is not None and plain.input_spec.bands == ("red", "nir")
    np.testing.assert_array_equal(plain.pixels(0), looked.pixels(0))


def test_what_is_read_again_is_the_same_in_any_process(tmp_path: Path) -> None:
    data = earth(tiles(tmp_path), indices=["ndvi"])
    alone = next(iter(data.val_dataloader()))
    several = earth(tmp_path, indices=["ndvi"], num_workers=1)
    other = next(iter(several.val_dataloader()))
    assert np.array_equal(alone["inputs"].numpy(), other["inputs"].numpy())
    assert dataclasses.asdict(data.input_spec) == dataclasses.asdict(several.input_spec)  # type: ignore[arg-type]


def _on_a_rank(root: str) -> dict[str, Any]:
    dist.init_process_group("gloo")
    data = EarthDataModule(root, image_size=8, sensor="sentinel2", split="blocks", block_km=10.0, value_range="data")
    data.setup("fit")
    splits = {name: members.tolist() for name, members in data.indices.items()}
    return {"splits": splits, "reading": data.reading, "spec": data.input_spec, "notes": data.notes}


def test_two_processes_share_the_look_at_every_raster_and_find_the_same(tmp_path: Path) -> None:
    """Each reads half of the rasters; splits, ranges and means are those of one process."""
    hole = reflectances(4, 8)
    hole[:, :2] = 0
    write_raster(tiles(tmp_path / "chips", 10) / "crop" / "hole.tif", hole, NAMES)
    (tmp_path / "ranks").mkdir()
    first, second = on_two_ranks(_on_a_rank, tmp_path / "ranks", str(tmp_path / "chips"))
    data = earth(tmp_path / "chips", split="blocks", block_km=10.0, value_range="data")
    alone = {name: members.tolist() for name, members in data.indices.items()}
    assert first == second and first["splits"] == alone
    assert first["reading"] == data.reading and first["spec"] == data.input_spec
    assert any("pixels without data" in note for note in first["notes"]) and first["notes"] == data.notes

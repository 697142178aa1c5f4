"""Captions that the land-cover map gives of the shipped tiles, and where the tiles lie."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tiny_pairs import conditions
from tiny_text import save_tokenizer

from datamodules import CaptionedLandCoverDataModule
from datamodules.sets.land_cover_map import BLOCK_PIXELS, LandCoverMap
from datamodules.sets.land_cover_words import WORDS, amounts, captions_of, zone


@pytest.fixture(scope="module")
def tiles(tmp_path_factory: pytest.TempPathFactory) -> CaptionedLandCoverDataModule:
    folder = tmp_path_factory.mktemp("tokenizer")
    save_tokenizer(folder)
    data = CaptionedLandCoverDataModule(more_tiles=300, cache=folder / "kept", seed=1)
    data.serve(conditions(folder, image_size=16))
    data.setup("fit")
    return data


def shares(**given: float) -> Any:
    return np.array([given.get(word.replace(" ", "_"), 0.0) for word in WORDS])


@pytest.mark.parametrize(
    ("covered", "words"),
    [
        (shares(forest=1.0), "only forest"),
        (shares(forest=0.6, cropland=0.3, water=0.1), "mostly forest, some cropland and a little water"),
        (shares(water=0.5, urban_land=0.46, grassland=0.04), "mostly water and some urban land"),
        (
            shares(snow_and_ice=0.2, savanna=0.3, wetland=0.25, shrubland=0.25),
            "some savanna, some shrubland, some wetland and some snow and ice",
        ),
    ],
)
def test_amounts(covered: Any, words: str) -> None:
    assert amounts(covered) == words


@pytest.mark.parametrize(
    ("latitude", "words"),
    [
        (0.0, "the tropics north of the equator"),
        (-23.0, "the tropics south of the equator"),
        (30.0, "the subtropics north of the equator"),
        (-50.0, "the temperate zone south of the equator"),
        (80.0, "the polar zone north of the equator"),
    ],
)
def test_zones(latitude: float, words: str) -> None:
    assert zone(latitude) == words


def test_three_captions() -> None:
    assert captions_of(shares(urban_land=0.6, forest=0.4), shares(forest=1.0), 45.0) == (
        "a satellite image of urban land",
        "a satellite image with only forest",
        "a satellite image of urban land in the temperate zone north of the equator",
    )


def test_labelled_tiles_say_their_class(tiles: CaptionedLandCoverDataModule) -> None:
    """The first caption names what covers the middle, of which the label covers half by definition."""
    named = {"urban": "urban land", "barren": "barren land"}
    manifest, land_cover, ties = LandCoverMap().manifest, LandCoverMap(), 0
    for place, label in enumerate(manifest["label"]):
        said = tiles.records.captions[place][0].removeprefix("a satellite image of ")
        if said != named.get(label, label):
            row, column = (int(manifest[name].iloc[place]) for name in ("row", "column"))
            assert land_cover.code_shares(row, column, 1.875).max() == pytest.approx(0.5), "two kinds, half of it each"
            ties += 1
    assert ties < 10
    assert tiles.records.splits[: len(manifest)].tolist() == manifest["split"].tolist()


def test_further_tiles_lie_in_training_blocks(tiles: CaptionedLandCoverDataModule) -> None:
    manifest = LandCoverMap().manifest
    held = {(row // BLOCK_PIXELS, column // BLOCK_PIXELS) for row, column in held_out(manifest)}
    more = [name.split("-")[1:] for name in tiles.records.ids if name.startswith("place-")]
    assert 250 < len(more) <= 300 and len(held) > 100
    for row, column in ((int(row), int(column)) for row, column in more):
        corners = {((row + r) // BLOCK_PIXELS, (column + c) // BLOCK_PIXELS) for r in (-8, 7) for c in (-8, 7)}
        assert not corners & held
    assert (tiles.records.splits[len(manifest) :] == "train").all()


def held_out(manifest: Any) -> Any:
    kept = manifest[manifest["split"] != "train"]
    return zip(kept["row"], kept["column"], strict=True)


def test_batches(tiles: CaptionedLandCoverDataModule) -> None:
    batch = next(iter(tiles.val_dataloader()))
    assert batch["inputs"].shape[1:] == (3, 16, 16) and len(batch["caption"]) == 3 * len(batch["index"])
    assert tiles.has_test and tiles.in_memory


def test_more_tiles_must_be_a_number() -> None:
    with pytest.raises(ValueError, match="more_tiles must be at least 0, got -1"):
        CaptionedLandCoverDataModule(more_tiles=-1)


def test_code_shares_add_up_to_the_cover() -> None:
    land_cover = LandCoverMap()
    codes = land_cover.code_shares(1003, 2507, 8)
    cover = land_cover.cover(1003, 2507, 8)
    assert codes.sum() == pytest.approx(1) and codes[[1, 2, 3, 4, 5]].sum() == pytest.approx(cover[0])
    assert codes[[12, 14]].sum() == pytest.approx(cover[1]) and codes[0] == pytest.approx(cover[3])

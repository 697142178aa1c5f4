"""Small pictures of items: from the run's data into the bundle, through a refresh, and out of the service."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image
from served_models import client_of
from starlette.testclient import TestClient
from tiny_retrieval import write_log

from lightning_tl.bundling.item_thumbnails import ItemThumbnails, thumbnails_of
from lightning_tl.cli import main
from lightning_tl.cli.commands.torch_model import torch_model
from lightning_tl.contracts.notice import Notice
from lightning_tl.inputs.thumbnail import thumbnail
from lightning_tl.serving import open_bundle
from lightning_tl.serving.bundle.manifest import Manifest
from lightning_tl.serving.models.thumbnails import FILE, Thumbnails, write_thumbnails
from lightning_tl.serving.service.application import Service
from lightning_tl.serving.service.metrics import ServiceMetrics
from lightning_tl.serving.service.served_model import ServedModel
from lightning_tl.serving.service.settings import ServiceSettings

TOWERS = "lightning_tl.retrieval."
ODD = {"i3": "a/b ü", "i4": "../../etc/passwd", "i5": "x/picture", "i6": "50% #1?"}
WIDE, BROKEN, NONE = "i0", "i1", "i2"


def _picture(number: int, size: tuple[int, int] = (8, 8)) -> Image.Image:
    """Even colours, which lossy files keep."""
    return Image.new("RGB", size, (5 * number, 250 - 5 * number, 100))


def _file(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def _pixels(data: bytes) -> np.ndarray:
    with Image.open(BytesIO(data)) as image:
        assert image.format == "WEBP"
        return np.asarray(image.convert("RGB")).astype(int)


def _log(folder: Path) -> Path:
    """Pictures as paths and as contents; one wide, one broken, one missing; ids that no path should be made of."""
    log = write_log(folder)
    for name in ("events", "items"):
        table = pd.read_parquet(log / f"{name}.parquet")
        table["item"] = table["item"].replace(ODD)
        if name == "items":
            covers: list[Any] = [_file(_picture(k)) for k in range(len(table))]
            _picture(0, (200, 50)).save(log / "wide.jpg")
            covers[:3] = [{"bytes": None, "path": "wide.jpg"}, {"bytes": b"junk", "path": None}, None]
            covers[3:] = [{"bytes": cover, "path": None} for cover in covers[3:]]
            table["cover"] = covers
        table.to_parquet(log / f"{name}.parquet")
    return log


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with its bundle, whose towers read no pictures."""
    folder = tmp_path_factory.mktemp("pictured")
    log = _log(folder / "log")
    data: dict[str, Any] = {name: str(log / f"{name}.parquet") for name in ("events", "items", "users")}
    data |= {"completion": "completion", "picture": "cover", "cache": str(log / "cache"), "history_length": 6}
    towers = {
        "items": {"class_path": f"{TOWERS}ItemTower", "init_args": {"dim": 16}},
        "users": {"class_path": f"{TOWERS}HistoryMean"},
    }
    recipe = {
        "model": {"class_path": f"{TOWERS}TwoTower", "init_args": {"lr": 0.01, **towers}},
        "data": {
            "class_path": "datamodules.InteractionDataModule",
            "init_args": data | {"batch_size": 8, "num_workers": 0},
        },
        "trainer": {"max_epochs": 1, "accelerator": "cpu", "enable_progress_bar": False},
        "checkpoint": {"monitor": "val_mrr", "mode": "max"},
        "retrieval_report": {"min_queries": 10},
    }
    (folder / "mine.yaml").write_text(f"# mine\n{yaml.safe_dump(recipe)}")
    main(["--recipe", str(folder / "mine.yaml"), f"--run_folder={folder / 'run'}"])
    with pytest.warns(Notice, match="1 of 47 items are shown without a picture.*the first: the picture of item i1"):
        main(["export", "--run", str(folder / "run")])
    return folder / "run"


def _service(model: Any) -> Service:
    settings, metrics = ServiceSettings(), ServiceMetrics()
    return Service([ServedModel("shop", lambda: model, settings, metrics.batched)], settings, metrics)


@pytest.fixture(scope="module")
def client(run: Path) -> Iterator[TestClient]:
    with client_of(_service(open_bundle(run / "bundle"))) as found:
        yield found


def test_a_bundle_has_the_pictures_of_its_items(run: Path) -> None:
    found = Thumbnails(run / "bundle")
    names = [ODD.get(f"i{k}", f"i{k}") for k in range(48)]
    assert set(found) == set(names) - {BROKEN, NONE} and len(found) == 46
    for number, name in enumerate(names):
        if name in found and name != WIDE:
            np.testing.assert_allclose(_pixels(found[name]), np.asarray(_picture(number)).astype(int), atol=6)
    assert _pixels(found[WIDE]).shape == (16, 64, 3)
    manifest = Manifest.read(run / "bundle")
    size = (run / "bundle" / FILE).stat().st_size
    assert manifest.card["pictures"] == {"items": 46, "side": 64, "bytes": size, "unreadable": 1}
    assert FILE in manifest.sha256
    assert "64 × 64 at most, of 46 items; 1 more could not" in (run / "bundle" / "README.md").read_text()


def test_each_is_served_by_its_id(run: Path, client: TestClient) -> None:
    kept = Thumbnails(run / "bundle")
    for name in (WIDE, "i7", *ODD.values()):
        for prefix in ("", "/shop"):
            found = client.get(f"{prefix}/items/{quote(name, safe='')}/picture")
            assert (found.status_code, found.content) == (200, kept[name]), name
    assert found.headers["content-type"] == "image/webp" and found.headers["x-content-type-options"] == "nosniff"
    assert found.headers["cache-control"] == "private, max-age=300"
    for name in (BROKEN, NONE, "nothing", "bundle.json", "../bundle.json", "ü" * 500, "\x00", ""):
        refused = client.get(f"/items/{quote(name, safe='')}/picture")
        assert refused.status_code == 404 and len(refused.json()["error"]) < 200, name
    assert "no picture of an item 'nothing'" in client.get("/items/nothing/picture").json()["error"]
    assert client.get("/items/i7/picture?size=9").status_code == 422
    assert client.post("/items/i7/picture").status_code == 405


def test_answers_say_which_items_have_one(run: Path, client: TestClient) -> None:
    answer = client.post("/recommend", json={"history": [WIDE, BROKEN], "k": 46}).json()
    kept = Thumbnails(run / "bundle")
    assert {item["item"]: item["picture"] for item in answer["items"]} == {
        item["item"]: item["item"] in kept for item in answer["items"]
    }
    assert [past["picture"] for past in answer["history"]] == [True, False]
    described = client.get("/openapi.json").json()["paths"]["/items/{item}/picture"]["get"]["responses"]
    assert list(described["200"]["content"]) == ["image/webp"] and {"404", "422"} <= set(described)


def test_without_them_nothing_is_said(run: Path, tmp_path: Path) -> None:
    main(["export", "--run", str(run), f"--output={tmp_path / 'bundle'}", "--no_pictures"])
    assert not (tmp_path / "bundle" / FILE).exists()
    assert "pictures" not in Manifest.read(tmp_path / "bundle").card
    with client_of(_service(open_bundle(tmp_path / "bundle"))) as client:
        assert "picture" not in client.post("/recommend", json={"user": "u1", "k": 3}).text
        refused = client.get("/items/i7/picture")
        assert refused.status_code == 404 and "no pictures" in refused.json()["error"]


def test_a_refresh_brings_pictures_along(run: Path, tmp_path: Path) -> None:
    """Those of items that came or changed are new, those of removed ones go, all others stay."""
    shutil.copytree(run, tmp_path / "run")
    covers = [_file(_picture(40)), _file(_picture(41)), None]
    pd.DataFrame({"item": ["n1", "i7", "i8"], "title": ["new", "other", "bare"], "cover": covers}).to_parquet(
        tmp_path / "new.parquet"
    )
    (tmp_path / "gone.txt").write_text("i9\n")
    asked = [f"--items={tmp_path / 'new.parquet'}", f"--remove={tmp_path / 'gone.txt'}"]
    main(["index", "refresh", "--run", str(tmp_path / "run"), *asked])
    before, after = Thumbnails(run / "bundle"), Thumbnails(tmp_path / "run" / "bundle")
    assert set(after) == (set(before) | {"n1"}) - {"i8", "i9"}
    for name, number in (("n1", 40), ("i7", 41)):
        np.testing.assert_allclose(_pixels(after[name]), np.asarray(_picture(number)).astype(int), atol=6)
    assert all(after[name] == before[name] for name in after if name not in ("n1", "i7"))
    assert Manifest.read(tmp_path / "run" / "bundle").card["pictures"]["items"] == len(after)
    with pytest.warns(Notice, match="the first: the picture of item i1"):
        main(["index", "build", "--run", str(tmp_path / "run")])  # of the run's own items again
    again = Thumbnails(tmp_path / "run" / "bundle")
    assert dict(again) == dict(before)
    (tmp_path / "gone.txt").write_text("i9\n")
    main(["index", "refresh", "--run", str(tmp_path / "run"), asked[1]])
    assert dict(Thumbnails(tmp_path / "run" / "bundle")) == {name: before[name] for name in before if name != "i9"}


def test_torch_in_a_bundles_place_shows_the_same(run: Path) -> None:
    model: Any = torch_model(run, 1, "a reason")
    kept = Thumbnails(run / "bundle")
    assert {name: model.pictures.get(name) for name in model.pictures} == {**kept, BROKEN: None}
    with client_of(_service(model)) as client:
        assert client.get("/items/i7/picture").content == kept["i7"]
        assert client.get(f"/items/{BROKEN}/picture").status_code == 404


# ---------------------------------------------------------------- the parts


@pytest.mark.parametrize(
    ("size", "expected"), [((8, 8), (8, 8)), ((64, 64), (64, 64)), ((65, 20), (64, 20)), ((1, 900), (1, 64))]
)
def test_a_thumbnail_has_the_shape_of_its_picture(size: tuple[int, int], expected: tuple[int, int]) -> None:
    with Image.open(BytesIO(thumbnail(np.asarray(_picture(9, size))))) as image:
        assert image.size == expected and image.format == "WEBP"


def test_it_is_the_mean_of_what_it_shows() -> None:
    """Against a slow reference: each pixel the mean of its 4 × 4, of a picture that is smooth."""
    along, down = np.meshgrid(np.arange(256), np.arange(256))
    pixels = np.stack([along, down, (along + down) // 2], axis=2).astype(np.uint8)
    expected = np.zeros((64, 64, 3))
    for row in range(64):
        for column in range(64):
            expected[row, column] = pixels[4 * row : 4 * row + 4, 4 * column : 4 * column + 4].mean(axis=(0, 1))
    assert np.abs(_pixels(thumbnail(pixels)) - expected).mean() < 2


def test_many_are_kept_in_parts_and_read_one_by_one(tmp_path: Path) -> None:
    rows = [(f"id {number}", str(number).encode()) for number in range(2_500)]
    assert write_thumbnails(tmp_path, iter(rows)) == 2_500
    found = Thumbnails(tmp_path)
    assert list(found) == [name for name, _ in rows] and dict(found) == dict(rows)
    assert found.get("id 2500") is None and "id 2500" not in found
    assert write_thumbnails(tmp_path / "..", iter([])) == 0 and not Thumbnails(tmp_path / "..")
    assert not Thumbnails(tmp_path / "nowhere")
    (tmp_path / FILE).write_bytes(b"junk")
    with pytest.raises(ValueError, match="export the bundle again"):
        Thumbnails(tmp_path)


def test_pictures_that_cannot_be_shown_are_told() -> None:
    class Encodable:
        known = np.array([True])

        def inputs(self, items: Any, spec: Any) -> Any:
            raise AssertionError

    class Data:
        item_pictures: Any = Encodable()

    with pytest.warns(Notice, match=r"without pictures: Encodable has no method pixels\(item\)"):
        assert thumbnails_of(Data()) is None
    Data.item_pictures = None
    assert thumbnails_of(Data()) is None


def test_only_those_that_are_offered() -> None:
    class Pictures:
        known = np.array([True, False, True])

        def inputs(self, items: Any, spec: Any) -> Any:
            raise AssertionError

        def pixels(self, item: int) -> Any:
            return np.asarray(_picture(item))

    found = ItemThumbnails(Pictures(), ["a", "b", "c"], {"b", "c", "d"})
    assert list(found) == ["c"] and found.get("a") is None

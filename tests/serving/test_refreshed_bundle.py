"""`index refresh` of a run brings its bundle along, and a service takes it between two answers."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from served_models import client_of
from tiny_retrieval import write_log
from torch.nn import functional as F

from lightning_tl.cli import main
from lightning_tl.cli.commands.bundle_of_run import _why_stale
from lightning_tl.cli.commands.recommend import RecommendCLI
from lightning_tl.cli.commands.recommend_options import read_recommend_options
from lightning_tl.retrieval import TwoTower
from lightning_tl.retrieval.refreshing.new_item_vectors import raw_item_vectors
from lightning_tl.search import ItemIndex
from lightning_tl.serving import open_bundle
from lightning_tl.serving.answering import RecommendingModel, Wish
from lightning_tl.serving.bundle.manifest import Manifest
from lightning_tl.serving.service.application import Service
from lightning_tl.serving.service.metrics import ServiceMetrics
from lightning_tl.serving.service.served_model import ServedModel
from lightning_tl.serving.service.settings import ServiceSettings

BOSS = {"authorization": "Bearer boss"}
USERS = [f"u{number}" for number in range(0, 60, 7)]
NEW = {"item": ["n1", "i2"], "title": ["this is the boat of a boat", "a quite different book"]}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, saved_models: Path) -> Path:
    """A run that reads texts of items, with its bundle."""
    folder = tmp_path_factory.mktemp("refreshed")
    log = write_log(folder / "log")
    encoder = {"class_path": "lightning_tl.backbones.HuggingFaceText"}
    encoder |= {"init_args": {"pretrained": str(saved_models / "minilm")}}  # type: ignore[dict-item]
    towers = {
        "items": {"class_path": "lightning_tl.retrieval.ItemTower", "init_args": {"dim": 16, "encoder": encoder}},
        "users": {"class_path": "lightning_tl.retrieval.HistoryMean"},
    }
    data: dict[str, Any] = {name: str(log / f"{name}.parquet") for name in ("events", "items", "users")}
    data |= {"completion": "completion", "cache": str(log / "cache"), "history_length": 6, "batch_size": 8}
    recipe = {
        "model": {"class_path": "lightning_tl.retrieval.TwoTower", "init_args": {"lr": 0.01, **towers}},
        "data": {"class_path": "datamodules.InteractionDataModule", "init_args": data | {"num_workers": 0}},
        "trainer": {"max_epochs": 1, "accelerator": "cpu", "enable_progress_bar": False},
        "checkpoint": {"monitor": "val_mrr", "mode": "max"},
        "retrieval_report": {"min_queries": 10},
    }
    (folder / "mine.yaml").write_text(f"# mine\n{yaml.safe_dump(recipe)}")
    main(["--recipe", str(folder / "mine.yaml"), f"--run_folder={folder / 'run'}"])
    main(["export", "--run", str(folder / "run")])
    return folder / "run"


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A run whose index and bundle may be changed."""
    shutil.copytree(finished, tmp_path / "run")
    pd.DataFrame(NEW).to_parquet(tmp_path / "new.parquet")
    (tmp_path / "gone.txt").write_text("i5\ni6\n")
    return tmp_path / "run"


def refresh(run: Path, *more: str) -> None:
    main(["index", "refresh", "--run", str(run), *more])


def opened(folder: Path) -> RecommendingModel:
    model = open_bundle(folder)
    assert isinstance(model, RecommendingModel)
    return model


class Kept(RecommendCLI):
    """Opens a run as `recommend` does."""

    def run_subcommand(self, subcommand: str) -> None:
        self.module, self.data, _ = self.opened()


def test_what_is_removed_goes_as_an_export_would_leave_it_out(run: Path, tmp_path: Path) -> None:
    before = Manifest.read(run / "bundle")
    refresh(run, f"--remove={tmp_path / 'gone.txt'}")
    manifest = Manifest.read(run / "bundle")
    assert manifest.version != before.version and manifest.card["items"] == 46
    assert "46 items" in (run / "bundle" / "README.md").read_text()
    main(["export", "--run", str(run), f"--output={tmp_path / 'anew'}"])
    wishes = [Wish(user=user, k=40) for user in [*USERS, "nobody"]]
    followed, anew = (opened(folder).recommend(wishes) for folder in (run / "bundle", tmp_path / "anew"))
    for one, other in zip(followed, anew, strict=True):
        assert one.items == other.items and not {"i5", "i6"} & set(one.items)
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-6)
        assert one.history == other.history


def test_what_came_and_changed_is_found_and_read_as_the_model_reads_it(run: Path, tmp_path: Path) -> None:
    before = opened(run / "bundle").recommend([Wish(user=user, k=48, exclude="none") for user in USERS])
    refresh(run, f"--items={tmp_path / 'new.parquet'}", f"--remove={tmp_path / 'gone.txt'}")
    assert _why_stale(run / "bundle", run / "checkpoints", run / "index" / "index.json") == ""
    model = opened(run / "bundle")
    after = model.recommend([Wish(user=user, k=48, exclude="none") for user in USERS])
    for old, new in zip(before, after, strict=True):
        assert new.history == old.history, "what is gone from the catalogue still tells of the user"
        assert "n1" in new.items and len(new.items) == 47
        if "i2" not in old.history:
            scores = dict(zip(old.items, old.scores, strict=True))
            found = dict(zip(new.items, new.scores, strict=True))
            same = [item for item in new.items if item not in ("n1", "i2")]
            np.testing.assert_allclose([found[item] for item in same], [scores[item] for item in same], atol=1e-6)
    module = Kept(read_recommend_options(["--run", str(run), "--user", "u1"])).module
    assert isinstance(module, TwoTower)
    raw = torch.from_numpy(raw_item_vectors(module.eval(), NEW["item"], NEW["title"]))
    with torch.no_grad():
        found = module.users(torch.zeros(1, 2, dtype=torch.int64), raw[None], torch.zeros(1, 2, dtype=torch.int64),
                             torch.zeros(1, dtype=torch.int64), torch.tensor([2]))  # fmt: skip
    query = F.normalize(found, dim=-1)[0].numpy()
    index = ItemIndex.open(run / "index", None)
    truth = {name: float(index.kept.all()[place] @ query) for name, place in index.places.items()}
    (answer,) = model.recommend([Wish(history=("n1", "i2"), k=47, exclude="none")])
    assert len(answer.items) == 47
    np.testing.assert_allclose(answer.scores, [truth[name] for name in answer.items], atol=1e-4)


def test_a_bundle_that_cannot_follow_says_so(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(run / "bundle", tmp_path / "elsewhere")
    version = Manifest.read(run / "bundle").version
    (run / "bundle" / "popular.parquet").write_bytes(b"junk")
    refresh(run, f"--remove={tmp_path / 'gone.txt'}")
    assert "stays as it is" in capsys.readouterr().out
    assert "cannot be opened" in _why_stale(run / "bundle", run / "checkpoints", run / "index" / "index.json")
    shutil.rmtree(run / "bundle")
    refresh(run, f"--items={tmp_path / 'new.parquet'}", f"--bundle={tmp_path / 'elsewhere'}")
    told = capsys.readouterr().out
    assert f"before {version[:12]}" in told and "takes it by SIGHUP" in told
    assert Manifest.read(tmp_path / "elsewhere").version != version
    with pytest.raises(SystemExit):
        refresh(run, f"--items={tmp_path / 'new.parquet'}", f"--bundle={tmp_path / 'nothing'}")
    assert "is no bundle" in capsys.readouterr().err


def test_another_index_makes_the_bundle_stale(run: Path) -> None:
    def why() -> str:
        return _why_stale(run / "bundle", run / "checkpoints", run / "index" / "index.json")

    assert why() == ""
    card = json.loads((run / "index" / "index.json").read_text())
    (run / "index" / "index.json").write_text(json.dumps({**card, "note": 1}))
    assert "another index" in why()


def test_a_service_takes_it_between_two_answers(run: Path, tmp_path: Path) -> None:
    settings, metrics = ServiceSettings(), ServiceMetrics()
    served = ServedModel("shop", lambda: open_bundle(run / "bundle"), settings, metrics.batched)
    wish = {"history": ["i0", "i9"], "k": 47}
    answers: list[dict[str, Any]] = []
    with client_of(Service([served], settings, metrics, None, "boss")) as client:
        over = threading.Event()

        def ask() -> None:
            while not over.is_set():
                answer = client.post("/recommend", json=wish)
                assert answer.status_code == 200, answer.text
                answers.append(answer.json())

        asking = threading.Thread(target=ask)
        asking.start()
        refresh(run, f"--items={tmp_path / 'new.parquet'}", f"--remove={tmp_path / 'gone.txt'}")
        assert client.post("/admin/reload", headers=BOSS).status_code == 200
        count = len(answers)
        while len(answers) < count + 5:
            over.wait(0.01)
        over.set()
        asking.join()
        told = dict(line.rsplit(" ", 1) for line in client.get("/metrics").text.splitlines() if line[0] != "#")
    by_version: dict[str, set[str]] = {}
    for answer in answers:
        items = json.dumps([item["item"] for item in answer["items"]])
        by_version.setdefault(answer["version"], set()).add(items)
    assert len(by_version) == 2 and all(len(each) == 1 for each in by_version.values()), "no answer is of both"
    assert ["n1" in items for (items,) in by_version.values()] == [False, True]
    assert float(told['lightning_tl_index_age_seconds{model="shop"}']) < 60
    assert float(told['lightning_tl_index_recall{k="100",model="shop"}']) == 1.0

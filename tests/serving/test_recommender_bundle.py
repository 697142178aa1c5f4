"""Bundles of two towers: they recommend what `recommend --run` does, in a process without torch."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from cli_runs import error_of
from huggingface_hub import ModelCard
from tiny_retrieval import write_log

from lightning_tl.cli import main
from lightning_tl.serving import open_bundle
from lightning_tl.serving.answering import BadInputError, RecommendingModel, Wish
from lightning_tl.serving.bundle.manifest import FILE, Manifest
from lightning_tl.serving.models.profile_codes import ProfileCodes

MODEL: dict[str, Any] = {"class_path": "lightning_tl.retrieval.TwoTower", "init_args": {"lr": 0.01}}
TOWERS = "lightning_tl.retrieval."
KINDS = {"transformer": "HistoryTransformer", "mean": "HistoryMean", "texts": "TextHistory", "both": "TextHistory"}


def _options(kind: str, models: Path) -> dict[str, Any]:
    """Of towers that read titles: alone, or beside one that reads items and profiles."""
    if KINDS[kind] != "TextHistory":
        return {}
    family = "distilbert" if kind == "texts" else "minilm"
    encoder = {"class_path": "lightning_tl.backbones.HuggingFaceText"}
    options: dict[str, Any] = {"encoder": encoder | {"init_args": {"pretrained": str(models / family)}}}
    options |= {"items": 3, "tokens": 16, "adaptation": {"class_path": "lightning_tl.adaptation.LoRA"}}
    if kind == "both":
        options["beside"] = {"class_path": f"{TOWERS}HistoryTransformer"}
    return {"init_args": options}


@pytest.fixture(scope="module", params=KINDS)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, saved_models: Path) -> Path:
    """A finished run with its bundle: one reads texts of items and leaves out what was seen, one reads ids alone."""
    folder, texts = tmp_path_factory.mktemp(request.param), request.param == "transformer"
    log = write_log(folder / "log")
    encoder = {"class_path": "lightning_tl.backbones.HuggingFaceText"}
    items: dict[str, Any] = {
        "dim": 16,
        "encoder": encoder | {"init_args": {"pretrained": str(saved_models / "minilm")}},
    }
    data = {f"{name}": str(log / f"{name}.parquet") for name in ("events", "items", "users")}
    data |= {"completion": "completion", "category": "category", "cache": str(log / "cache")}
    recipe = {
        "model": MODEL
        | {
            "init_args": {
                "items": {"class_path": f"{TOWERS}ItemTower", "init_args": items if texts else {"dim": 16}},
                "users": {"class_path": TOWERS + KINDS[request.param], **_options(request.param, saved_models)},
            }
        },
        "data": {
            "class_path": "datamodules.InteractionDataModule",
            "init_args": data
            | {"history_length": 6, "batch_size": 8, "num_workers": 0, "exclude": "seen" if texts else "none"},
        },
        "trainer": {"max_epochs": 1, "accelerator": "cpu", "enable_progress_bar": False},
        "checkpoint": {"monitor": "val_mrr", "mode": "max"},
        "retrieval_report": {"min_queries": 10},
    }
    (folder / "mine.yaml").write_text(f"# mine\n{yaml.safe_dump(recipe)}")
    main(["--recipe", str(folder / "mine.yaml"), f"--run_folder={folder / 'run'}"])
    main(["export", "--run", str(folder / "run")])
    return folder / "run"


@pytest.fixture
def model(run: Path) -> RecommendingModel:
    found = open_bundle(run / "bundle")
    assert isinstance(found, RecommendingModel) and not hasattr(found, "predict")
    return found


def recommended(run: Path, user: str, k: int, capsys: pytest.CaptureFixture[str]) -> tuple[list[str], list[float]]:
    capsys.readouterr()
    main(["recommend", "--run", str(run), "--user", user, "--k", str(k)])
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if line.strip()[:1].isdigit()]
    return [row[2] for row in rows], [float(row[1]) for row in rows]


@pytest.mark.parametrize("user", ["u7", "u59", "nobody"])
def test_what_is_recommended_is_what_the_run_recommends(
    run: Path, model: RecommendingModel, user: str, capsys: pytest.CaptureFixture[str]
) -> None:
    items, scores = recommended(run, user, 20, capsys)
    (answer,) = model.recommend([Wish(user=user, k=20)])
    assert answer.items == items and answer.by == ("popularity" if user == "nobody" else "history")
    np.testing.assert_allclose(answer.scores, scores, atol=6e-4)  # printed with three digits
    assert all(answer.titles) and len(answer.items) == 20


def test_a_process_without_torch_recommends(run: Path, model: RecommendingModel) -> None:
    code = f"""if True:
        import json, sys
        from lightning_tl.serving import open_bundle
        from lightning_tl.serving.answering import Wish
        answer = open_bundle({str(run / "bundle")!r}).recommend([Wish(user="u3", k=9)])[0]
        heavy = ("torch", "transformers", "lightning", "datamodules", "scipy", "matplotlib")
        print(json.dumps([answer.items, answer.scores, sorted(set(heavy) & set(sys.modules))]))
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=run.parent)
    assert done.returncode == 0, done.stderr
    items, scores, heavy = json.loads(done.stdout)
    (answer,) = model.recommend([Wish(user="u3", k=9)])
    assert (items, heavy) == (answer.items, [])
    np.testing.assert_allclose(scores, answer.scores, atol=1e-6)


def test_a_history_in_the_request_stands_for_the_user(run: Path, model: RecommendingModel) -> None:
    known = model.recommend([Wish(user="u7", k=5)])[0]
    profile = model.users.profiles["u7"]  # type: ignore[attr-defined]
    taken = tuple(model.users.histories["u7"])  # type: ignore[attr-defined]
    given = model.recommend([Wish(history=taken, profile=profile, k=48, exclude="none")])[0]
    both = [(item, score) for item, score in zip(given.items, given.scores, strict=True) if item in known.items]
    assert [item for item, _ in both] == known.items
    np.testing.assert_allclose([score for _, score in both], known.scores, atol=1e-5)
    together = model.recommend([Wish(user=f"u{k}", k=5) for k in range(20)])
    assert together[7].items == known.items


def test_wishes_that_cannot_be(run: Path, model: RecommendingModel) -> None:
    cases: list[tuple[Wish, str]] = [
        (Wish(profile={"shoe": "9"}), "no profile field 'shoe'; it reads: gender, age"),
        (Wish(profile={"gender": "X"}), "'X' is no value of the profile field 'gender'; known: F, M"),
        (Wish(profile={"age": "old"}), "'age' is a number, got 'old'"),
        (Wish(history=("i1", "no such")), "no item 'no such'"),
        (Wish(user="u1", k=0), "k must be from 1"),
        (Wish(user="u1", where={"price": 3}), "no columns"),
    ]
    for wish, told in cases:
        with pytest.raises(BadInputError, match=told):
            model.recommend([wish])
    alone = model.recommend([Wish(profile={"gender": "F", "age": "31"}, k=3)])[0]
    assert alone.by == "profile" and len(alone.items) == 3


def test_the_card_and_what_is_in_the_folder(run: Path) -> None:
    manifest = Manifest.read(run / "bundle")
    assert manifest.kind == "recommendations" and manifest.card["difference_to_torch"] < 1e-4
    assert list(manifest.reads["profile"]) == ["gender", "age"] and manifest.reads["history_length"] == 6
    card = ModelCard.load(run / "bundle" / "README.md")
    assert "recommendation" in card.data.tags
    for word in ("48 items", "60 users", "| two_tower |", "| popularity |", "Limits", "Licences"):
        assert word in card.text
    names = {path.name for path in (run / "bundle").iterdir()}
    texts = {"history_titles.parquet", "tokenizer.json"} if "history_texts" in manifest.reads else set()
    assert names == texts | {
        "README.md",
        FILE,
        "history_items.parquet",
        "history_vectors.npy",
        "index",
        "popular.parquet",
        "user_tower.onnx",
        "users.parquet",
    }
    assert not [path for path in run.iterdir() if path.name.startswith(".bundle")]


def test_a_spoiled_bundle_is_refused(run: Path, tmp_path: Path) -> None:
    for name in ("users.parquet", "user_tower.onnx", "index/embeddings.npy"):
        shutil.copytree(run / "bundle", tmp_path / "bundle", dirs_exist_ok=True)
        (tmp_path / "bundle" / name).write_bytes(b"junk")
        with pytest.raises(ValueError, match="is not what was written"):
            open_bundle(tmp_path / "bundle")


def test_items_that_the_data_has_no_longer_are_not_offered(run: Path, tmp_path: Path) -> None:
    """And users and events of today are those that the bundle knows."""
    log = run.parent / "log"
    events, items = pd.read_parquet(log / "events.parquet"), pd.read_parquet(log / "items.parquet")
    events[events["item"] != "i5"].to_parquet(tmp_path / "events.parquet")
    items[items["item"] != "i5"].to_parquet(tmp_path / "items.parquet")
    more = [f"--data.{name}={tmp_path / name}.parquet" for name in ("events", "items")]
    main(["export", "--run", str(run), f"--output={tmp_path / 'bundle'}", *more])
    model = open_bundle(tmp_path / "bundle")
    assert isinstance(model, RecommendingModel)
    everything = model.recommend([Wish(user="u1", k=48, exclude="none")])[0]
    assert len(everything.items) == 47 and "i5" not in everything.items


def test_titles_of_a_refreshed_index_are_what_a_history_says(run: Path, tmp_path: Path) -> None:
    """Where titles are all that is read, two items of one title are one history."""
    if not (run / "bundle" / "history_titles.parquet").is_file():
        return
    shutil.copytree(run, tmp_path / "run")
    titles = pd.read_parquet(run.parent / "log" / "items.parquet").set_index("item")["title"]
    new = pd.DataFrame({"item": ["n1", "i2"], "title": [titles["i1"]] * 2, "category": "boat"})
    new.to_parquet(tmp_path / "new.parquet")
    main(["index", "refresh", "--run", str(tmp_path / "run"), f"--items={tmp_path / 'new.parquet'}"])
    model = open_bundle(tmp_path / "run" / "bundle")
    assert isinstance(model, RecommendingModel)
    first, came, changed = model.recommend([Wish(history=(item,), k=5) for item in ("i1", "n1", "i2")])
    if "texts" in str(run):
        np.testing.assert_allclose(came.scores, first.scores, atol=1e-5)
        np.testing.assert_allclose(changed.scores, first.scores, atol=1e-5)
    assert pd.read_parquet(tmp_path / "run" / "bundle" / "history_titles.parquet")["title"].tolist()[-1] == titles["i1"]
    assert np.isfinite(came.scores).all() and came.history == ["n1"]


def test_without_an_index_there_is_one_message(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(run, tmp_path / "run", ignore=shutil.ignore_patterns("bundle", "index"))
    assert "index" in error_of(["export", "--run", str(tmp_path / "run")], capsys)
    assert not (tmp_path / "run" / "bundle").exists()


def test_codes_of_profiles_go_there_and_back() -> None:
    codes = ProfileCodes({"kind": {"values": ["a", "b", "7"]}, "age": {"edges": [20.0, 30.5, 40.0]}})
    for row in ([0, 0], [1, 1], [2, 2], [3, 3], [0, 4]):
        assert codes.codes(codes.profile(np.array(row))) == row
    assert codes.codes(None) == [0, 0]
    assert codes.codes({"age": "30.5"}) == [0, 3] and codes.codes({"age": "19"}) == [0, 1]

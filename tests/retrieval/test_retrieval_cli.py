"""Retrieval as people run it: fit with a report, resume, and recommend, each by its command."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from cli_runs import start
from PIL import Image
from tiny_retrieval import write_log

from lightning_tl.cli import main
from lightning_tl.retrieval import RetrievalReport
from lightning_tl.retrieval.judging.retrieval_text import retrieval_sections

RECIPE = """\
# A recipe of the user's own.
model:
  class_path: lightning_tl.retrieval.TwoTower
  init_args:
    items:
      class_path: lightning_tl.retrieval.ItemTower
      init_args:
        dim: 16
        encoder:
          class_path: lightning_tl.backbones.HuggingFaceText
          init_args:
            pretrained: {model}
data:
  class_path: datamodules.InteractionDataModule
  init_args:
    events: {log}/events.parquet
    items: {log}/items.parquet
    users: {log}/users.parquet
    completion: completion
    category: category
    history_length: 6
    batch_size: 8
    num_workers: 0
    cache: {log}/cache
checkpoint:
  monitor: val_mrr
  mode: max
retrieval_report:
  min_queries: 10
trainer:
  max_epochs: 3
  accelerator: cpu
  devices: 1
  log_every_n_steps: 1
  enable_progress_bar: false
  enable_model_summary: false
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, saved_models: Path) -> Path:
    """The folder of a finished run; its log lies beside it. Leave it as it is."""
    folder = tmp_path_factory.mktemp("retrieval")
    write_log(folder / "log")
    recipe = folder / "mine.yaml"
    recipe.write_text(RECIPE.format(model=saved_models / "minilm", log=folder / "log"))
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("LIGHTNING_TL_PICTURES")
        main(["--recipe", str(recipe), f"--run_folder={folder / 'run'}"])
    return folder / "run"


def test_the_run_folder_is_filled(run: Path) -> None:
    summary = json.loads((run / "summary.json").read_text())
    test = summary["test"]
    assert list(test["models"]) == ["two_tower", "popularity", "recent_popularity", "ease", "zero_shot_text"]
    assert test["differences"].keys() == test["models"].keys() - {"two_tower"}
    assert {"gender", "age", "item category", "history", "item popularity"} <= test["slices"].keys()
    assert summary["index"]["recall_at_100"] == 1.0 and set(summary["baselines"]) == {
        "recent_popularity",
        "ease",
        "zero_shot_text",
    }
    for name in ("curves", "slices", "popularity", "embedding_map"):
        with Image.open(run / "pictures" / f"{name}.png") as picture:
            assert picture.size[0] > 400 and np.asarray(picture.convert("L")).std() > 5
    table = pd.read_parquet(run / "predictions" / "test.parquet")
    assert len(table) == test["samples"] and {"user", "item", "time", "rank_two_tower", "rank_ease"} <= set(table)
    hits = (table["rank_two_tower"] <= 10).mean()
    assert test["models"]["two_tower"]["per_query"]["HR@10"]["value"] == pytest.approx(hits)


def test_the_bound_and_the_temperature_are_logged(run: Path) -> None:
    metrics = pd.read_csv(run / "metrics.csv")
    bound, temperature = metrics["information_bound"].dropna(), metrics["temperature"].dropna()
    assert len(bound) == len(temperature) > 10 and bound.max() < np.log(8 * 6) and (temperature > 0).all()


def test_the_share_of_the_oracle_is_told(run: Path) -> None:
    test = json.loads((run / "summary.json").read_text())["test"]
    mine = test["models"]["two_tower"]["per_query"]["HR@100"]["value"]
    test["oracle"] = {"per_query": {"HR@100": found(2 * mine, None, None)}}
    text = "\n".join(line for section in retrieval_sections(test) for line in section)
    assert f"  50% of the HR@100 of the oracle, which knows the true preferences ({2 * mine:.3f})" in text


def test_streamrec_is_measured_against_its_oracle(saved_models: Path, tmp_path: Path) -> None:
    small = ["--data.world.users=60", "--data.world.items=120", "--data.batch_size=8", f"--data.cache={tmp_path}"]
    encoder = f"--model.items.encoder.pretrained={saved_models / 'minilm'}"
    fast = ["--trainer.max_epochs=1", "--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false"]
    main(["--recipe", "streamrec_track_a", encoder, *small, *fast, f"--run_folder={tmp_path / 'run'}"])
    test = json.loads((tmp_path / "run" / "summary.json").read_text())["test"]
    oracle = test["oracle"]["per_query"]["MRR"]["value"]
    assert oracle > test["models"]["popularity"]["per_query"]["MRR"]["value"]
    assert "of the HR@100 of the oracle" in (tmp_path / "run" / "summary.txt").read_text()


def test_the_summary_tells_who_wins(run: Path) -> None:
    text = (run / "summary.txt").read_text()
    for words in ("all 48 items ranked", "two_tower minus", "mean over users", "largest gaps of MRR", "index"):
        assert words in text
    assert f"recommend --run {run}" in text or "recommend --run" in text


def found(value: float, low: float | None, high: float | None) -> dict[str, Any]:
    return {"value": value, "low": low, "high": high}


@pytest.mark.parametrize(
    ("interval", "words"),
    [
        ((-0.2, -0.3, -0.1), "two_tower is BEHIND ease by {metric}"),
        ((0.1, -0.1, 0.2), "two_tower is not shown to beat ease by {metric}: the interval includes 0"),
        ((0.1, None, None), "two_tower is not shown to beat any: without intervals nothing is"),
        ((0.2, 0.1, 0.3), None),
    ],
)
@pytest.mark.parametrize("metric", ["HR@10", "HR@100", "MRR"])
def test_a_model_that_beats_nothing_is_told_so(
    run: Path, interval: tuple[Any, ...], words: str | None, metric: str
) -> None:
    test = json.loads((run / "summary.json").read_text())["test"]
    test["differences"] = {"ease": {name: found(0.5, 0.4, 0.6) for name in ("HR@10", "HR@100", "MRR")}}
    test["differences"]["ease"][metric] = found(*interval)
    for model in test["models"].values():
        model["items"] = 101
    text = "\n".join(line for section in retrieval_sections(test) for line in section)
    assert (words.format(metric=metric) in text) if words else ("BEHIND" not in text and "not shown" not in text)


def test_a_hit_rate_that_nobody_can_miss_is_left_out(run: Path) -> None:
    """The log has 48 items."""
    text = (run / "summary.txt").read_text()
    assert "HR@50 and HR@100 are left out: with 48 items nobody can miss" in text
    heads = next(line for line in text.splitlines() if "mean over queries" in line).split()
    assert heads[3:] == ["HR@1", "HR@5", "HR@10", "MRR", "NDCG@10", "median", "coverage"]
    assert "two_tower minus    HR@10                    MRR\n" in text


def test_every_model_has_every_metric_with_its_interval(run: Path) -> None:
    models = json.loads((run / "summary.json").read_text())["test"]["models"]
    text = (run / "summary.txt").read_text()
    assert list(models) == ["two_tower", "popularity", "recent_popularity", "ease", "zero_shot_text"]
    for model in models.values():
        for kind in ("per_query", "per_user"):
            for name in ("HR@1", "HR@5", "HR@10", "HR@50", "HR@100", "MRR", "NDCG@10", "coverage@100"):
                assert model[kind][name]["low"] <= model[kind][name]["value"] <= model[kind][name]["high"]
            interval = (f"{model[kind]['MRR'][end]:.3f}".removeprefix("0") for end in ("low", "high"))
            assert "-".join(interval) in text


def test_recommendations_leave_out_what_was_taken(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["recommend", "--run", str(run), "--user", "u7", "--k", "5"])
    lines = capsys.readouterr().out.strip().splitlines()
    events = pd.read_parquet(run.parent / "log" / "events.parquet")
    taken = set(events[(events["user"] == "u7") & (events["completion"] > 0.5)]["item"])
    rows = [line.split() for line in lines[lines.index(next(x for x in lines if x.startswith("rank"))) + 1 :]]
    assert [row[0] for row in rows] == ["1", "2", "3", "4", "5"] and not {row[2] for row in rows} & taken
    scores = [float(row[1]) for row in rows]
    assert scores == sorted(scores, reverse=True) and any(line.startswith("history: this is the") for line in lines)


def test_recommendations_are_what_the_test_ranked(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For a user at the end of the log, the index gives the order that exact ranking of the same vector gives."""
    main(["recommend", "--run", str(run), "--user", "u7", "--k", "32"])
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if line.strip()[:1].isdigit()]
    vectors = np.load(run / "index" / "embeddings.npy")
    ids = json.loads((run / "index" / "items.json").read_text())["ids"]
    best = vectors[ids.index(rows[0][2])]
    assert len(rows) == 32 and float(rows[0][1]) >= float(rows[-1][1]) and np.linalg.norm(best) == pytest.approx(1)


def test_what_was_seen_is_offered_where_that_is_wanted(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = yaml.safe_load((run / "config.yaml").read_text())
    events = pd.read_parquet(config["data"]["init_args"]["events"])
    mine = events[events.user == "u7"]
    for rule, not_again in (("seen", mine.item), ("taken", mine.item[mine.completion == 1]), ("none", [])):
        main(["recommend", "--run", str(run), "--user", "u7", "--k", "48", f"--data.exclude={rule}"])
        rows = [line.split() for line in capsys.readouterr().out.splitlines() if line.strip()[:1].isdigit()]
        assert {row[2] for row in rows} == {f"i{k}" for k in range(48)} - set(not_again)


def test_a_stranger_gets_k_items_whatever_the_last_date(run: Path, tmp_path: Path, capsys) -> None:
    config = yaml.safe_load((run / "config.yaml").read_text())
    events = pd.read_parquet(config["data"]["init_args"]["events"])
    events.loc[0, "time"] = 4_000_000_000  # a slip of the pen: the year 2096
    events.to_parquet(tmp_path / "later.parquet")
    main(["recommend", "--run", str(run), "--user", "nobody", "--k", "40", f"--data.events={tmp_path}/later.parquet"])
    out = capsys.readouterr().out
    assert "1 events are dated after now" in out
    assert len([line for line in out.splitlines() if line.strip()[:1].isdigit()]) == 40


def test_a_stranger_gets_what_is_popular_and_is_told_so(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["recommend", "--run", str(run), "--user", "nobody", "--k", "3"])
    lines = capsys.readouterr().out.strip().splitlines()
    assert "no user 'nobody'" in lines[0] and "popular of late" in lines[0] and len(lines) == 5


def test_a_moved_run_whose_data_is_gone_works_on_other_data(run: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    """From another directory; what would read the data that is gone names all its files and their options."""
    shutil.copytree(run, moved := tmp_path / "moved")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    config = (moved / "config.yaml").read_text()
    (moved / "config.yaml").write_text(config.replace(str(run.parent / "log"), str(tmp_path / "gone")))
    for command in (["recommend", "--user", "u7"], ["test"], ["fit"]):
        with pytest.raises(SystemExit) as exit_:
            main([command[0], "--resume" if command[0] == "fit" else "--run", str(moved), *command[1:]])
        error = capsys.readouterr().err
        assert exit_.value.code == 2 and "Traceback" not in error
        assert "(--data.items=FILE --data.users=FILE --data.events=FILE)" in error
    new = write_log(tmp_path / "new", seed=1)
    events = pd.read_parquet(new / "events.parquet")
    events.assign(time=events["time"] + 3 * 86_400).to_parquet(new / "events.parquet")
    data = [f"--data.{name}={new / name}.parquet" for name in ("events", "items", "users")]
    data.append(f"--data.cache={tmp_path / 'cache'}")
    main(["recommend", "--run", str(moved), "--user", "u7", "--k", "3", *data])
    assert len([line for line in capsys.readouterr().out.splitlines() if line.strip()[:1].isdigit()]) == 3
    before = (moved / "summary.json").read_text()
    main(["test", "--run", str(moved), *data])
    (summary,) = (moved / "tests").glob("*/summary.json")
    assert json.loads(summary.read_text())["test"]["samples"] > 0 and (moved / "summary.json").read_text() == before


def test_an_index_of_other_weights_is_refused(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "other"
    (other / "checkpoints").mkdir(parents=True)
    (other / "config.yaml").write_text((run / "config.yaml").read_text())
    (best,) = (run / "checkpoints").glob("best*.ckpt")
    stored = torch.load(best, weights_only=True)
    name = next(name for name in stored["state_dict"] if "projection" in name)
    stored["state_dict"][name] += 1
    torch.save(stored, other / "checkpoints" / best.name)
    (other / "index").mkdir()
    for file in (run / "index").iterdir():
        (other / "index" / file.name).write_bytes(file.read_bytes())
    with pytest.raises(SystemExit) as exit_:
        main(["recommend", "--run", str(other), "--user", "u7"])
    assert exit_.value.code == 2 and "made by another model" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--user", "u1"], "recommend needs --run RUN_FOLDER"),
        (["--run", "RUN"], "recommend needs --user ID"),
        (["--run", "RUN", "--user", "u1", "--k", "0"], "k must be at least 1, got 0"),
        (["--run", "RUN", "--user", "u1", "--k", "many"], "invalid int value: 'many'"),
        (["--run", "nowhere", "--user", "u1"], "nowhere"),
    ],
)
def test_mistakes_on_the_command_line(
    arguments: list[str], message: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["recommend", *(str(run) if word == "RUN" else word for word in arguments)])
    assert exit_.value.code == 2 and message in capsys.readouterr().err


def test_predict_says_what_to_do_instead(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["predict", "--run", str(run)])
    assert exit_.value.code == 2 and "recommend --run RUN_FOLDER --user ID" in capsys.readouterr().err


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    main(["recommend", "--help"])
    assert "--user ID" in capsys.readouterr().out


def test_a_mistake_in_the_log_is_one_line(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = yaml.safe_load((run.parent / "mine.yaml").read_text())
    config["data"]["init_args"]["time"] = "tiem"
    (tmp_path / "mine.yaml").write_text(f"# mine\n{yaml.safe_dump(config)}")
    with pytest.raises(SystemExit) as exit_:
        main(["--recipe", str(tmp_path / "mine.yaml"), f"--run_folder={tmp_path / 'run'}"])
    error = capsys.readouterr().err
    assert exit_.value.code == 2 and "'tiem'" in error and "time" in error and "Traceback" not in error


def test_penalties_must_be_there() -> None:
    with pytest.raises(ValueError, match=r"ease_l2 must be one or more penalties above 0, got \[\]"):
        RetrievalReport(ease_l2=[])
    with pytest.raises(ValueError, match=r"ease_history must be one or more numbers of events above 0, got \[0\]"):
        RetrievalReport(ease_history=[0])
    with pytest.raises(ValueError, match=r"recent_days must be one or more numbers of days above 0, got \[7, 0\]"):
        RetrievalReport(recent_days=[7, 0])
    with pytest.raises(ValueError, match="min_queries must be at least 1, got 0"):
        RetrievalReport(min_queries=0)


@pytest.mark.usefixtures("drawn_pictures")
def test_wandb_gets_the_test_too(run: Path, tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    recipe = run.parent / "mine.yaml"
    main(["--recipe", str(recipe), f"--run_folder={tmp_path / 'run'}", "--trainer.max_epochs=1", "--wandb"])
    assert not [str(one.message) for one in recwarn if "could not be made" in str(one.message)]
    files = next((tmp_path / "run" / "wandb").glob("offline-run-*")) / "files"
    assert {path.name.split("_")[0] for path in (files / "media" / "images" / "pictures").iterdir()} >= {
        "curves",
        "slices",
        "popularity",
        "embedding",
    }
    (table,) = (files / "media" / "table" / "predictions").glob("*.json")
    assert "rank_two_tower" in json.loads(table.read_text())["columns"]


@pytest.mark.parametrize(
    ("recipe", "option", "where"),
    [
        ("streamrec_two_tower", "--model.items.picture_encoder=null", ("items", "picture_encoder")),
        ("streamrec_track_c", "--model.items.live_items=null", ("items", "live_items")),
        ("streamrec_track_c", "--model.users.beside=null", ("users", "beside")),
    ],
)
def test_null_inside_a_class(
    recipe: str, option: str, where: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["--recipe", recipe, option, "--print_config"])
    assert exit_.value.code == 0
    model = yaml.safe_load(capsys.readouterr().out)["model"]["init_args"]
    assert model[where[0]]["init_args"][where[1]] is None and model["items"]["init_args"]["encoder"] is not None


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--model.users.dropout=null", "model.users.dropout: expected float, got null"),
        ("--model.items.dim=null", "model.items.dim: expected int, got null"),
        ("--data.batch_size=null", "data.batch_size: expected int, got null"),
    ],
)
def test_null_where_something_must_be(option: str, words: str, tmp_path: Path, capsys: Any) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["--recipe", "streamrec_two_tower", option, f"--run_folder={tmp_path / 'run'}"])
    assert exit_.value.code == 2 and f"error: {words}" in capsys.readouterr().err


@pytest.mark.parametrize(("given", "kind"), [("1714521600", int), ("0.8", float), ("2024-05-01", str)])
def test_a_window_begins_with_a_share_a_second_or_a_date(
    given: str, kind: type, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["--recipe", "streamrec_two_tower", f"--data.validation={given}", "--print_config"])
    assert exit_.value.code == 0
    found = yaml.safe_load(capsys.readouterr().out)["data"]["init_args"]["validation"]
    assert isinstance(found, kind) and str(found) == given


def test_two_processes_report_what_one_reports(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One checkpoint tested by two processes and by one: the same ranks of all models, coverage and settings."""
    copies = []
    for name in ("two", "one"):
        copies.append(tmp_path / name)
        shutil.copytree(run, copies[-1])
        arguments = ["test", "--run", str(copies[-1])]
        if name == "two":
            process = start([*arguments, "--trainer.strategy=ddp", "--trainer.devices=2"], tmp_path)
            output, errors = process.communicate(timeout=300)
            assert process.returncode == 0, errors
        else:
            main(arguments)
            output = capsys.readouterr().out
        assert output.count("all 48 items ranked") == 1
    order = ["user", "time", "item"]
    first, second = (pd.read_parquet(copy / "predictions" / "test.parquet").sort_values(order) for copy in copies)
    for column in first:
        assert first[column].tolist() == second[column].tolist(), column
    two, one = (json.loads((copy / "summary.json").read_text()) for copy in copies)
    assert two["processes"] == 2 and one["processes"] == 1
    assert two["test"] == one["test"] and two["baselines"] == one["baselines"]
    assert two["index"] == one["index"]

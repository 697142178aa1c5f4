"""`scripts/benchmarks/retrieval_speed.py` compares like with like: equal weights, queries and losses."""

from __future__ import annotations

import itertools
import logging
import multiprocessing
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

SCRIPTS = Path(__file__).resolve().parent.parent.parent / "scripts" / "benchmarks"
sys.path.append(str(SCRIPTS))

import retrieval_speed  # noqa: E402
from retrieval_sides import WARM_UP, Run, build, different_targets, ours, peer  # noqa: E402

from datamodules.sets.streamrec import StreamRecSettings  # noqa: E402
from lightning_tl.contracts.interactions import NO_ITEM, Queries  # noqa: E402

WORLD = StreamRecSettings(users=60, items=100)


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    """Sides are made for processes of their own, and change these for the whole process."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)
    logging.disable(logging.NOTSET)
    if "accelerate" in sys.modules:
        sys.modules["accelerate"].state.AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture
def run(saved_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    cache = tmp_path_factory.getbasetemp() / "streamrec"
    return Run("trained", 1, 1, 6, str(saved_models / "minilm"), tokens=12, world=WORLD, cache=cache)


def said_by(side: Any, run: Run, *more: Any, first: tuple[Any, ...] = ()) -> list[dict[str, Any]]:
    """What a side tells when it is always told to go on."""
    here, there = multiprocessing.Pipe()
    for message in (*first, *["go"] * (len(run.blocks()) + 1)):
        here.send(message)
    side(there, run, *more)
    told = []
    while here.poll():
        told.append(here.recv())
    return told


@pytest.mark.parametrize("condition", retrieval_speed.SIDES)
def test_both_sides_begin_and_go_on_with_the_same_losses(run: Run, condition: str) -> None:
    alike = run._replace(condition=condition, pairs=0, alike=True)
    heard = {"ours": said_by(ours, alike)}
    for name in retrieval_speed.SIDES[condition][1:]:
        features = (heard["ours"][0]["features"],)
        heard[name] = said_by(peer, alike, name != "peer", first=features)
    losses = torch.tensor([said[1]["losses"] for said in heard.values()])
    assert losses.shape == (len(heard), WARM_UP)
    torch.testing.assert_close(losses, losses[:1].expand_as(losses), rtol=0, atol=1e-4)
    assert losses[0, 0] != losses[0, 1]
    assert all(said[1]["hashes"] == heard["ours"][1]["hashes"] for said in heard.values())
    assert retrieval_speed.first_losses(heard).startswith(
        "With the same loss and no dropout, the losses of the first 2"
    )


def test_only_the_alike_race_is_without_dropout_and_with_the_peers_loss(run: Run) -> None:
    alike, as_used = (build(run._replace(alike=alike))[0] for alike in (True, False))
    for module, active in ((alike, False), (as_used, True)):
        module.train()
        rates = [part.p for part in module.modules() if isinstance(part, torch.nn.Dropout)]
        assert rates and any(rate > 0 for rate in rates) == active
        assert (module.item_to_user > 0, module.log_q, module.mask_taken) == (active,) * 3
        assert module.loss.log_scale.requires_grad == active
    assert alike.loss.temperature == pytest.approx(1 / 20)
    for (name, one), (_, two) in zip(alike.named_parameters(), as_used.named_parameters(), strict=True):
        assert torch.equal(one, two), name  # the run decides the weights, not what is done with them


def test_different_losses_stop_the_measurement() -> None:
    heard: Any = {name: [{}, {"losses": [1.0, 2.0 + gap]}] for name, gap in (("ours", 0.0), ("peer", 2e-4))}
    with pytest.raises(SystemExit, match=r"must agree within 0\.0001: ours 1\.000000, 2\.000000; peer"):
        retrieval_speed.first_losses(heard)


def test_a_race_longer_than_an_epoch_is_refused(run: Run) -> None:
    with pytest.raises(SystemExit, match=r"batches of 6 rows, and 1002 steps are wanted: lower steps"):
        build(run._replace(steps=1000))


def test_each_item_is_asked_for_by_its_first_query_alone() -> None:
    batch: Any = {
        "history": torch.tensor([[4, 5], [6, NO_ITEM]]),
        "user": torch.tensor([0, 1]),
        "row": torch.tensor([0, 0, 1, 1]),
        "position": torch.tensor([1, 2, 0, 1]),
        "target": torch.tensor([7, 3, 7, 2]),
        "index": torch.tensor([10, 11, 12, 13]),
    }
    kept: Any = different_targets(batch)
    assert {name: kept[name].tolist() for name in ("row", "position", "target", "index")} == {
        "row": [0, 0, 1],
        "position": [1, 2, 1],
        "target": [7, 3, 2],
        "index": [10, 11, 13],
    }
    assert torch.equal(kept["history"], batch["history"]) and torch.equal(kept["user"], batch["user"])


def test_the_peers_rows_are_the_true_histories(run: Run) -> None:
    from retrieval_peer import Collator, Replay, number_rows

    _, data, _ = build(run._replace(condition="frozen"))
    batches = list(itertools.islice(data.train_dataloader(), 2))
    table = number_rows(batches)
    rows = [dict(zip(table, values, strict=True)) for values in zip(*table.values(), strict=True)]
    replay = list(Replay([len(batch["target"]) for batch in batches]))
    assert list(itertools.chain(*replay)) == list(range(len(rows))) and len(replay) == 2
    for batch, numbers in zip(batches, replay, strict=True):
        made = Collator()([rows[number] for number in numbers])
        assert torch.equal(made["label"], batch["index"])
        asked = Queries.of(data.log, batch["index"].numpy())
        assert made["query_input_ids"].tolist() == asked.targets.tolist()
        assert made["query_user"].tolist() == asked.users.tolist()
        for query, history in enumerate(made["query_history"]):
            past = history[history != NO_ITEM].tolist()
            everything = data.log.items[asked.starts[query] : asked.stops[query]].tolist()
            assert len(past) == int(made["query_position"][query])
            assert past == everything[len(everything) - len(past) :]
            assert len(past) >= min(len(everything), data.history_length // 2)


@pytest.mark.parametrize("given", [False, True])
def test_the_peer_reads_its_texts_anew(run: Run, given: bool, tmp_path: Path) -> None:
    """What it has no right to know may be anything; histories count where they are given for free, and only there."""
    from retrieval_peer import Collator, Storeless, number_rows
    from sentence_transformers import SentenceTransformer

    module, data, _ = build(run._replace(condition="frozen", alike=True))
    module.items.refresh()
    module.items.encoder.save(tmp_path / "encoder")
    encoder = SentenceTransformer(str(tmp_path / "encoder"), device="cpu")
    table = number_rows(list(itertools.islice(data.train_dataloader(), 1)))
    inputs = Collator()([dict(zip(table, values, strict=True)) for values in zip(*table.values(), strict=True)][-5:])
    features = {name.removeprefix("query_"): value for name, value in inputs.items()}
    targets, history = set(features["input_ids"].tolist()), set(features["history"].flatten().tolist()) - {NO_ITEM}
    assert targets and history - targets
    truth = module.items.content.clone()
    for spoilt, matters in ((targets, False), (history - targets, given)):
        found = []
        for content in (truth, truth.clone()):
            content[sorted(spoilt)] *= 0.0 if found else 1.0
            module.items.content = content
            found.append(Storeless(module, encoder, data.item_texts, given)(features))
        for name in ("user_embedding", "sentence_embedding"):
            same = torch.allclose(found[0][name], found[1][name], atol=1e-5)
            assert same != (matters and name == "user_embedding"), name


def test_the_report_has_medians_of_blocks_and_ratios_of_pairs() -> None:
    """Four blocks after the warm-up: ours takes 1, 1, 2, 1 s, the peer 4, 3, 4, 2 s, for 100 queries each."""

    def side(seconds: list[float], **first: Any) -> list[dict[str, Any]]:
        return [first, *({"seconds": (wall, wall / 2), "queries": 100} for wall in (9.0, *seconds))]

    told = {"features": [torch.zeros(5, 2).numpy()], "building_s": 0.5, "encoding_s": 3.0}
    heard = {"ours": side([1, 1, 2, 1], **told), "peer": side([4, 3, 4, 2])}
    text = retrieval_speed.report(Run("trained", steps=2, pairs=4), heard)
    assert "50 interactions a step" in text
    assert "| ours | 100.0 (50.0 to 100.0) | 500 (500 to 1,000) |" in text
    assert "| peer | 29.2 (25.0 to 50.0) | 1,750 (1,000 to 2,000) |" in text
    assert "catalogue of 5 items" in text and "encodes the catalogue in 3.0 s" in text
    assert "on 2.50 (2.00 to 4.00) times the interactions a second of the peer, pair by pair" in text
    assert "made up for after 124 interactions" in text  # 3 s at 1/29.2 - 1/100 s gained by each
    slower = retrieval_speed.report(
        Run("trained", steps=2, pairs=4), {"ours": side([8] * 4, **told), "peer": side([4] * 4)}
    )
    assert "never made up for" in slower


@pytest.mark.usefixtures("warm_children")
def test_a_race_takes_turns_in_processes_of_their_own(run: Run) -> None:
    heard = retrieval_speed.race(run)
    assert list(heard) == ["ours", "peer"] and all(len(said) == 3 for said in heard.values())  # warm-up and a pair
    for warm_up, block in (said[1:] for said in heard.values()):
        assert (warm_up["queries"], block["queries"]) == (6 * WARM_UP, 6)
        assert all(0 < seconds < 60 for seconds in (*warm_up["seconds"], *block["seconds"]))
    assert "6 interactions a step" in retrieval_speed.report(run, heard)


@pytest.mark.parametrize("words", [["--steps", "0"], ["--pairs", "-1"], ["--condition", "warm"]])
def test_settings_without_sense_are_refused(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["retrieval_speed.py", *words])
    with pytest.raises(SystemExit) as stop:
        retrieval_speed.main()
    assert stop.value.code == 2

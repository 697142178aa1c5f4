"""`scripts/benchmarks/retrieval_scale.py` measures what it says: memory from a moment on, whole batches, true ranks."""

from __future__ import annotations

import mmap
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

SCRIPTS = Path(__file__).resolve().parent.parent.parent / "scripts" / "benchmarks"
sys.path.append(str(SCRIPTS))

import retrieval_scale  # noqa: E402
from large_batches import A_ROW, Case, Catalogue, Measured  # noqa: E402
from resident_memory import Memory  # noqa: E402

from lightning_tl.contracts.interactions import Queries  # noqa: E402
from lightning_tl.retrieval.ranking.ranking import EmbeddingScorer  # noqa: E402

MIB = 2**20


def taken(size: int) -> mmap.mmap:
    """So many MiB from the system itself: what `malloc` gives may have been in memory before."""
    pages = mmap.mmap(-1, size * MIB)
    for _ in range(size):
        pages.write(b"x" * MIB)
    return pages


@pytest.mark.parametrize("size", [32, 96])
def test_memory_counts_what_comes_later_even_when_it_is_freed(size: int) -> None:
    taken(160).close()
    memory = Memory()
    later = taken(size)
    time.sleep(0.5)
    later.close()
    assert size - 2 <= memory.beyond() / MIB <= size + 16
    assert memory.peak > memory.base


@pytest.mark.parametrize("count", [1, 25, 60])
def test_a_batch_asks_for_every_item_once(count: int) -> None:
    data = Catalogue.of([f"text {k}" for k in range(count)])
    batch = data.batch()
    assert sorted(batch["target"].tolist()) == list(range(count))
    assert len(batch["user"]) == -(-count // A_ROW)
    assert batch["row"].bincount().max() <= A_ROW
    assert (batch["position"] < batch["history"].shape[1]).all() and (batch["position"] >= 1).all()
    pairs = {(int(r), int(p)) for r, p in zip(batch["row"], batch["position"], strict=True)}
    assert len(pairs) == count  # no query is asked twice
    assert data.training_log.users[batch["index"].numpy()].tolist() == batch["user"][batch["row"]].tolist()
    assert int(batch["history"].min()) >= 0 and int(batch["history"].max()) < count


@pytest.fixture
def environment() -> Iterator[None]:
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.mark.usefixtures("environment")
@pytest.mark.usefixtures("warm_children")
def test_batch_measures_each_line_in_its_own_process(saved_models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    retrieval_scale.batch([40], 16, tokens=12, steps=2, encoder=str(saved_models / "minilm"), threads=1)
    lines = capsys.readouterr().out.splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| 40")]
    assert [row[:2] for row in rows] == [["40", "40"], ["40", "16"]]
    assert all(row[2].endswith("iB") and float(row[2].split()[0]) > 0 and float(row[4]) >= 0 for row in rows)
    assert lines[-1].startswith("A batch of 40 queries, 16 read at once, takes ")


@pytest.mark.parametrize(("bytes_of_most", "ratio", "word"), [(100, "1.00", "within"), (126, "1.26", "NOT within")])
def test_the_verdict_follows_the_figures(bytes_of_most: int, ratio: str, word: str) -> None:
    small, large = Measured(100, 1000, 1.0), Measured(bytes_of_most, 900, 1.0)
    told = retrieval_scale.verdict(Case(1024, 1024), small, Case(16384, 256), large)
    assert f"16,384 queries, 256 read at once, takes {ratio} times the memory of 1,024" in told
    assert f"trains {word} that memory" in told


def world(queries: int = 1100, items: int = 40) -> tuple[Queries, Tensor, Tensor]:
    asked = retrieval_scale.random_queries(queries, items, np.random.default_rng(3))
    return asked, retrieval_scale.unit_vectors(queries, 8, 1), retrieval_scale.unit_vectors(items, 8, 2)


def slow_ranks(asked: Queries, users: Tensor, items: Tensor) -> list[int]:
    found = []
    for number, event in enumerate(asked.events):
        scores = [float((users[number].double() * item.double()).sum()) for item in items]
        seen = set(asked.log.items[event - 5 : event].tolist())
        target = int(asked.log.items[event])
        ahead = [k for k, score in enumerate(scores) if k != target and k not in seen and score >= scores[target]]
        found.append(1 + len(ahead))
    return found


def test_ranks_are_those_of_a_slow_count_and_progress_counts_queries() -> None:
    asked, users, items = world()
    told: list[int] = []
    found = retrieval_scale.rank_until_stopped(
        EmbeddingScorer("r", asked, users, items), asked, len(items), told.append
    )
    assert found.tolist() == slow_ranks(asked, users, items)
    assert sum(told) == len(asked) and len(told) == 3  # 512 at once


class Stopped(EmbeddingScorer):
    """As if Ctrl-C came while the second chunk is scored."""

    calls = 0

    def scores(self, queries: Queries, items: slice) -> Tensor:
        self.calls += 1
        if self.calls == 2:
            raise KeyboardInterrupt
        return super().scores(queries, items)


def test_ctrl_c_keeps_whole_chunks_alone(capsys: pytest.CaptureFixture[str]) -> None:
    asked, users, items = world()
    told: list[int] = []
    found = retrieval_scale.rank_until_stopped(Stopped("r", asked, users, items), asked, len(items), told.append)
    assert found.tolist() == slow_ranks(asked[:512], users, items) and told == [512]
    assert "stopped" in capsys.readouterr().out


def test_vectors_have_length_one_and_histories_five_items() -> None:
    asked, users, _ = world()
    torch.testing.assert_close(users.norm(dim=1), torch.ones(len(users)))
    assert (asked.lengths == 5).all() and len(np.unique(asked.users)) == len(asked) == 1100


@pytest.mark.parametrize(("whole", "said"), [(100_000, True), (300, False)])
def test_ranking_reports_and_extrapolates_nothing(
    whole: int, said: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrieval_scale, "WHOLE", whole)
    retrieval_scale.ranking(300, 200, 8, "cpu")
    text = capsys.readouterr().out
    assert "300 of 300 queries ranked among 200 items of 8 dimensions in" in text and "beyond the embeddings" in text
    assert ("nothing was extrapolated" in text) == said


@pytest.mark.parametrize(
    "words", [["ranking", "--queries", "0"], ["batch", "--sizes", "8", "0"], ["batch", "--chunk", "-1"]]
)
def test_sizes_below_one_are_refused(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["retrieval_scale.py", *words])
    with pytest.raises(SystemExit) as stop:
        retrieval_scale.main()
    assert stop.value.code == 2

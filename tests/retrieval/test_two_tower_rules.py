"""Large batches in chunks, catalogues without texts, and what a two-tower model may be tested on."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest
import torch
import torch.distributed as dist
from lightning.pytorch.callbacks import ModelCheckpoint
from ranks import on_two_ranks
from tiny import tiny_trainer
from tiny_retrieval import tiny_data, tiny_two_tower, write_log

from datamodules import InteractionDataModule
from lightning_tl.adaptation import Full
from lightning_tl.backbones import HuggingFaceText
from lightning_tl.cli import main
from lightning_tl.cli.checks.nulls import check_nulls
from lightning_tl.cli.errors import UserError
from lightning_tl.retrieval import HistoryTransformer, TextHistory
from lightning_tl.retrieval.judging import chosen_baselines
from lightning_tl.retrieval.judging.held_out import held_out_queries, query_vectors


def encoder(saved_models: Path) -> HuggingFaceText:
    return HuggingFaceText(str(saved_models / "minilm"))


@pytest.mark.parametrize("chunk", [1, 3, 7])
def test_rows_that_are_read_in_chunks_have_the_gradient_of_all_at_once(chunk: int, tmp_path: Path) -> None:
    """Without dropout; queries are not in the order of their rows, and a row may have none."""
    data = tiny_data(tmp_path)
    data.setup()
    generator = torch.Generator().manual_seed(1)
    row = torch.randint(5, (17,), generator=generator)
    row[row == 3] = 4
    position = torch.randint(7, (17,), generator=generator)
    history, vectors = torch.zeros(5, 6, dtype=torch.int64), torch.randn(5, 6, 16, generator=generator)
    profile = torch.from_numpy(data.profiles[:5])
    found = []
    for size in (1000, chunk):
        torch.manual_seed(0)
        tower = HistoryTransformer(layers=1, dropout=0.0, chunk=size)
        tower.build(16, data)
        given = vectors.clone().requires_grad_()
        out = tower(history, given, profile, row, position)
        (out * torch.arange(17)[:, None]).sum().backward()
        found.append([out.detach(), given.grad, *(parameter.grad for parameter in tower.parameters())])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_chunks_repeat_their_dropout(tmp_path: Path) -> None:
    """The loss of the forward pass is that of the second one, whose gradient is taken: a step along it is exact."""
    data = tiny_data(tmp_path)
    data.setup()
    torch.manual_seed(0)
    tower = HistoryTransformer(layers=1, dropout=0.5, chunk=2)
    tower.build(16, data)
    weight = tower.projection.weight
    history, vectors = torch.zeros(6, 6, dtype=torch.int64), torch.randn(6, 6, 16)
    asked = torch.from_numpy(data.profiles[:6]), torch.arange(6), torch.full((6,), 6)

    def loss() -> torch.Tensor:
        torch.manual_seed(5)
        return tower(history, vectors, *asked).square().sum()

    loss().backward()
    direction = torch.randn_like(weight)
    expected, step = float((weight.grad * direction).sum()), 1e-3
    with torch.no_grad():
        weight += step * direction
        up = float(loss())
        weight -= 2 * step * direction
        down = float(loss())
    assert expected == pytest.approx((up - down) / (2 * step), rel=0.02)


def test_a_history_is_read_up_to_64_tokens(saved_models: Path, tmp_path: Path) -> None:
    data = tiny_data(tmp_path)
    data.setup()
    tower = TextHistory(encoder(saved_models), items=1000)
    tower.build(16, data)
    read: list[int] = []
    tower.encoder.register_forward_pre_hook(lambda module, inputs: read.append(inputs[0]["input_ids"].shape[1]))
    tower(torch.zeros(1, 40, dtype=torch.int64), torch.zeros(1, 40, 16), torch.zeros(1, 2), *torch.tensor([[0], [40]]))
    longest = min(64, tower.encoder.input_spec.max_length)
    assert read == [longest]
    with pytest.raises(ValueError, match="tokens must be at least 3, got 2"):
        TextHistory(encoder(saved_models), tokens=2)


def test_a_log_without_a_table_of_items_is_known_by_numbers(
    saved_models: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_log(tmp_path / "log")
    data = InteractionDataModule(tmp_path / "log" / "events.parquet", num_workers=0, cache=tmp_path / "cache")
    module = tiny_two_tower(encoder(saved_models))
    with caplog.at_level(logging.INFO, "lightning.pytorch.utilities.rank_zero"):
        tiny_trainer(tmp_path, max_epochs=1).fit(module, datamodule=data)
    assert "there is no table of items (data.items)" in caplog.text
    assert module.items.encoder is None and [tower.path for tower in module.towers()] == []
    with pytest.raises(ValueError, match="nothing to read: the texts of all 0 items are empty; name the items' table"):
        tiny_trainer(tmp_path, max_epochs=1).fit(tiny_two_tower(encoder(saved_models), ids=False), datamodule=data)


def test_what_was_trained_on_is_not_tested(tmp_path: Path) -> None:
    data = tiny_data(tmp_path / "log")
    trainer = tiny_trainer(tmp_path, [ModelCheckpoint(tmp_path / "kept", "last")], max_epochs=1)
    trainer.fit(tiny_two_tower(), datamodule=data)
    checkpoint = str(tmp_path / "kept" / "last.ckpt")
    options: Any = {"ckpt_path": checkpoint, "verbose": False}
    tiny_trainer(tmp_path).test(tiny_two_tower(), datamodule=tiny_data(tmp_path / "log"), **options)
    until = int(data.training_log.times.max())
    for validation, test, window in ((0.3, 0.4, "test"), (0.3, 0.05, "validation")):
        early = tiny_data(tmp_path / "log", validation=validation, test=test)
        run = tiny_trainer(tmp_path)
        score = run.test if window == "test" else run.validate
        message = rf"the {window} window begins at .* trained on events up to .* data.{window}"
        with pytest.raises(ValueError, match=message):
            score(tiny_two_tower(), datamodule=early, **options)
        assert int(early.queries(window).times.min()) <= until


def test_held_out_queries_are_of_other_users_and_of_no_test(tmp_path: Path) -> None:
    data = tiny_data(tmp_path)
    data.setup()
    tune, measure = held_out_queries(data, 20)
    assert 0 < len(tune) <= 20 and 0 < len(measure) <= 20
    assert not set(tune.users.tolist()) & set(measure.users.tolist())
    asked = set(data.queries("validation").events.tolist())
    assert set(tune.events.tolist()) | set(measure.events.tolist()) <= asked
    later = tiny_data(tmp_path, train_on_validation=True)
    later.setup()
    tune, measure = held_out_queries(later, 20)
    last = later.training_log.times.max()
    assert len(tune) and len(measure) and max(tune.times.max(), measure.times.max()) <= last


def test_vectors_of_held_out_queries_are_those_of_the_test(tmp_path: Path) -> None:
    data, module = tiny_data(tmp_path / "log"), tiny_two_tower()
    trainer = tiny_trainer(tmp_path, max_epochs=1)
    trainer.fit(module, datamodule=data)
    trainer.test(module, datamodule=data, verbose=False)
    queries = data.queries("test")
    found = query_vectors(module.eval(), queries)
    evaluated = module.ranking.evaluated
    order = np.searchsorted(queries.events, evaluated["event"])
    np.testing.assert_allclose(found[order], evaluated["vector"], atol=1e-5)


def kept_run(tmp_path: Path, module: Any, data: Any) -> dict[str, Any]:
    """Trains for an epoch; the options that test its checkpoint."""
    trainer = tiny_trainer(tmp_path, [ModelCheckpoint(tmp_path / "kept", "last")], max_epochs=1)
    trainer.fit(module, datamodule=data)
    return {"ckpt_path": str(tmp_path / "kept" / "last.ckpt"), "verbose": False}


def test_a_model_that_saw_other_users_later_events_is_not_tested_in_time(tmp_path: Path) -> None:
    leaking = tiny_data(tmp_path / "log", split="leave_last_out")
    options = kept_run(tmp_path, tiny_two_tower(), leaking)
    tiny_trainer(tmp_path).test(
        tiny_two_tower(), datamodule=tiny_data(tmp_path / "log", split="leave_last_out"), **options
    )
    with pytest.raises(ValueError, match=r"the test window begins at .* scored on what it has seen"):
        tiny_trainer(tmp_path).test(tiny_two_tower(), datamodule=tiny_data(tmp_path / "log"), **options)


@pytest.mark.parametrize("texts_first", [True, False])
def test_texts_that_come_or_go(texts_first: bool, tmp_path: Path, saved_models: Path) -> None:
    whole = tiny_data(tmp_path / "log")
    bare = InteractionDataModule(
        tmp_path / "log" / "events.parquet", num_workers=0, completion="completion", cache=tmp_path / "cache"
    )
    first, second = (whole, bare) if texts_first else (bare, whole)
    options = kept_run(tmp_path, tiny_two_tower(encoder(saved_models)), first)
    message = "there is no table of items: name it with data.items" if texts_first else "leave data.items out, or train"
    with pytest.raises(ValueError, match=message):
        tiny_trainer(tmp_path).test(tiny_two_tower(encoder(saved_models)), datamodule=second, **options)


def test_a_grown_table_of_users_keeps_its_fields(tmp_path: Path) -> None:
    """Towns are different for most users of the grown table, and not of the first one."""
    write_log(tmp_path / "log")
    users = pd.read_parquet(tmp_path / "log" / "users.parquet").assign(town=[f"town {k % 45}" for k in range(60)])
    users.to_parquet(tmp_path / "log" / "users.parquet")
    options = kept_run(tmp_path, tiny_two_tower(), tiny_data(tmp_path / "log"))
    more = users.assign(user=[f"x{k}" for k in range(60)], town=[f"city {k}" for k in range(60)])
    pd.concat([users, more]).to_parquet(tmp_path / "log" / "users.parquet")
    tiny_trainer(tmp_path).test(tiny_two_tower(), datamodule=tiny_data(tmp_path / "log"), **options)


def optional(value: str = None, other: int | None = None, mode: Literal["a", None] = "a") -> None:  # type: ignore[assignment]  # noqa: RUF013
    """As much third-party code writes it."""


class Base:
    def __init__(self, size: int = 1) -> None:
        self.size = size


class Untyped(Base):
    def __init__(self, size=None, **options: Any) -> None:  # type: ignore[no-untyped-def]
        super().__init__(size or 1)


@pytest.mark.parametrize(
    ("path", "given", "message"),
    [
        ("optional", {"value": None, "other": None, "mode": None}, None),
        ("Untyped", {"size": None}, None),
        ("Base", {"size": None}, "x.size: expected int, got null"),
    ],
)
def test_nulls_that_a_class_takes(path: str, given: dict[str, Any], message: str | None) -> None:
    config = {"class_path": f"{__name__}.{path}", "init_args": given}
    if message is None:
        check_nulls({"x": config})
        return
    with pytest.raises(UserError, match=message):
        check_nulls({"x": config})


@pytest.mark.parametrize("option", ["--data.events=/data/country=None", "--data.user=Nonesuch"])
def test_words_that_end_like_none_stay(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--recipe", "two_tower", option, "--print_config"])
    assert ended.value.code == 0 and option.split("=", 1)[1] in capsys.readouterr().out


def fail_on_rank_1(folder: str) -> list[str]:
    """EASE cannot be made on the second process: both go on without it."""
    dist.init_process_group("gloo")
    data = tiny_data(Path(folder))
    data.setup()
    if dist.get_rank() == 1:
        chosen_baselines.EASE = MemoryError  # type: ignore[assignment, misc]
    chosen = chosen_baselines.ChosenBaselines([3.0], [30.0, 3.0], [5], [5])
    return [scorer.name for scorer in chosen.scorers(data.training_log, 48, None, data.queries("validation"))]


def test_a_baseline_that_one_process_cannot_make_is_left_out_by_all(tmp_path: Path) -> None:
    tiny_data(tmp_path).setup()
    assert on_two_ranks(fail_on_rank_1, tmp_path, str(tmp_path)) == [["popularity", "recent_popularity"]] * 2


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_texts_of_histories_in_chunks_have_the_gradient_of_all_at_once(
    share: float, tmp_path: Path, saved_models: Path
) -> None:
    data = tiny_data(tmp_path)
    data.setup()
    history = torch.randint(48, (4, 6), generator=torch.Generator().manual_seed(0))
    row, position = torch.arange(4).repeat(3), torch.tensor([1, 2, 3, 4, 5, 6, 6, 5, 4, 3, 2, 1])
    found = []
    for chunk in (100, 5):
        torch.manual_seed(0)
        beside = HistoryTransformer(layers=1, dropout=0.0)
        tower = TextHistory(encoder(saved_models), Full(), chunk=chunk, dropout=0.0, beside=beside, train_share=share)
        tower.build(16, data)
        for part in tower.modules():
            if isinstance(part, torch.nn.Dropout):
                part.p = 0.0
        torch.manual_seed(3)  # of the share that is read
        out = tower.train()(history, torch.ones(4, 6, 16), torch.zeros(4, 2, dtype=torch.int64), row, position)
        (out * torch.arange(1, 13)[:, None]).sum().backward()
        found.append(
            [out.detach(), *(parameter.grad for parameter in tower.parameters() if parameter.grad is not None)]
        )
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_two_towers_train_in_bfloat16(tmp_path: Path, saved_models: Path) -> None:
    module = tiny_two_tower(encoder(saved_models), TextHistory(encoder(saved_models), Full()), adaptation=Full())
    trainer = tiny_trainer(tmp_path, precision="bf16-mixed", max_epochs=2)
    trainer.fit(module, datamodule=tiny_data(tmp_path / "log", uniform_negatives=4, hard_negatives=1))
    assert 0 < float(trainer.callback_metrics["val_mrr"]) <= 1
    assert all(parameter.dtype == torch.float32 and parameter.isfinite().all() for parameter in module.parameters())

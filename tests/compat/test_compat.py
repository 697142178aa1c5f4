"""Each function of lightning_tl/compat in the smallest real setting: an upgrade that drops a name fails here first."""

from __future__ import annotations

import argparse
import ast
import importlib.metadata
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import LearningRateFinder
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics import MeanMetric

from lightning_tl.compat import (
    for_jsonargparse,
    for_lightning,
    for_timm,
    for_torch,
    for_torchmetrics,
    for_transformers,
    lightning_checkpoint,
    lightning_cli,
    lightning_csv,
)

MODULES = (
    for_jsonargparse,
    for_lightning,
    for_timm,
    for_torch,
    for_torchmetrics,
    for_transformers,
    lightning_checkpoint,
    lightning_cli,
    lightning_csv,
)


@contextmanager
def names_of(library: str) -> Iterator[None]:
    """A name that is gone, or takes other arguments, is told with the library and its version."""
    try:
        yield
    except (AttributeError, ImportError, KeyError, TypeError) as error:
        version = importlib.metadata.version(library)
        pytest.fail(f"{library} {version} no longer has what lightning_tl/compat uses of it: {error!r}")


class _Plain(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.lr = nn.Linear(2, 1), 0.1

    def training_step(self, batch: Any, number: int) -> torch.Tensor:
        loss = self.layer(batch[0]).mean()
        self.log("loss", loss, on_step=True, on_epoch=True)
        return loss

    def validation_step(self, batch: Any, number: int) -> None:
        self.log("val", self.layer(batch[0]).mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=self.lr)


class _Asks(pl.Callback):
    """Calls every function of `for_lightning` that takes a Trainer after each batch."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        results = for_lightning.results_of_epoch(trainer)
        for result in results.values():
            for_lightning.forget_computed(result)
        self.seen.append(
            {
                "accumulates": for_lightning.accumulates(trainer),
                "ends": for_lightning.ends_epoch(trainer),
                "validates": for_lightning.validates_now(trainer),
                "validated": for_lightning.has_validated(trainer),
                "searches": for_lightning.searches_rate(trainer),
                "results": sorted(results),
                "row": for_lightning.row_of_step(trainer),
                "sources": sorted(for_lightning.sources_of_fit(trainer)),
                "batch": for_lightning.batch_on_device(trainer, [torch.ones(2)]),
            }
        )


class _Rows(pl.loggers.CSVLogger):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.rows: list[int | None] = []

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.rows.append(step)


def _trainer(folder: Path, *callbacks: pl.Callback, **options: Any) -> pl.Trainer:
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu", "log_every_n_steps": 1}
    defaults = {"enable_checkpointing": False, "logger": False, "max_epochs": 1}
    return pl.Trainer(default_root_dir=folder, callbacks=list(callbacks), **{**quiet, **defaults, **options})


def _loader() -> DataLoader[Any]:
    return DataLoader(TensorDataset(torch.ones(8, 2)), batch_size=2)


def _fit(folder: Path, *callbacks: pl.Callback, **options: Any) -> pl.Trainer:
    trainer = _trainer(folder, *callbacks, **options)
    trainer.fit(_Plain(), _loader(), _loader())
    return trainer


# ---------------------------------------------------------------- Lightning


def test_where_a_fit_stands(tmp_path: Path) -> None:
    asks, logger = _Asks(), _Rows(tmp_path)
    with names_of("lightning"):
        trainer = _fit(tmp_path, asks, accumulate_grad_batches=2, num_sanity_val_steps=0, logger=logger)
        for_lightning.log_row(trainer, {"loss": 1.0}, 17)
    assert [seen["accumulates"] for seen in asks.seen] == [True, False, True, False]
    assert [seen["ends"] for seen in asks.seen] == [False, False, False, True]
    assert [seen["validates"] for seen in asks.seen] == [False, False, False, True]
    assert [seen["validated"] for seen in asks.seen] == [False] * 4 and for_lightning.has_validated(trainer)
    assert not any(seen["searches"] for seen in asks.seen)
    assert asks.seen[0]["results"] == ["training_step.loss"]
    assert [seen["row"][0] for seen in asks.seen] == [0, 0, 1, 1]
    assert sorted(asks.seen[0]["row"][1]) == ["loss_step"]
    assert asks.seen[0]["sources"] == ["train", "validation"] and logger.rows[-1] == 17


def test_the_sources_of_a_fit_can_be_replaced(tmp_path: Path) -> None:
    class Replaces(pl.Callback):
        def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
            for_lightning.sources_of_fit(trainer)["train"].instance = DataLoader(TensorDataset(torch.ones(2, 2)))

    asks = _Asks()
    with names_of("lightning"):
        _fit(tmp_path, Replaces(), asks)
    assert len(asks.seen) == 2


def test_the_step_in_a_checkpoint(tmp_path: Path) -> None:
    with names_of("lightning"):
        trainer = _fit(tmp_path)
        loops = trainer.fit_loop.state_dict()
        loops = {"epoch_loop.state_dict": trainer.fit_loop.epoch_loop.on_save_checkpoint(), **loops}
        for_lightning.take_back_a_step(loops)
    assert loops["epoch_loop.state_dict"] == {"_batches_that_stepped": 3}


def test_a_search_for_the_rate(tmp_path: Path) -> None:
    seen: list[bool] = []

    class Module(_Plain):
        def on_train_batch_start(self, batch: Any, number: int) -> None:
            seen.append(for_lightning.searches_rate(self.trainer))

    with names_of("lightning"):
        finder = LearningRateFinder(num_training_steps=3)
        assert for_lightning.searched_attribute(finder) == ""
        assert for_lightning.searched_attribute(LearningRateFinder(attr_name="rate")) == "rate"
        trainer = _trainer(tmp_path)
        pl.tuner.Tuner(trainer).lr_find(Module(), _loader(), num_training=3, update_attr=False)
    assert seen and all(seen)


def test_how_modules_and_processes_are_made() -> None:
    with names_of("lightning"):
        assert not for_lightning.compiled_whole(_Plain())
        methods = [DDPStrategy(), DDPStrategy(start_method="fork"), SingleDeviceStrategy(torch.device("cpu"))]
        assert [for_lightning.start_method(strategy) for strategy in methods] == ["popen", "fork", "popen"]
        whole = pl.utilities.compile.from_compiled(torch.compile(_Plain(), backend="eager"))
        assert for_lightning.compiled_whole(whole)


def test_the_parts_of_a_checkpoint(tmp_path: Path) -> None:
    let_go: list[str] = []

    class Parts(lightning_checkpoint.CheckpointParts):
        def let_go(self, trainer: pl.Trainer, path: str) -> None:
            let_go.append(Path(path).name)
            self.remove(trainer, path)

        def skips(self, trainer: pl.Trainer) -> bool:
            return super().skips(trainer) or trainer.current_epoch == 1

    parts = Parts(dirpath=tmp_path, monitor="val", save_top_k=1, save_last=True, filename="{epoch}")
    with names_of("lightning"):
        trainer = _fit(tmp_path, parts, max_epochs=3, enable_checkpointing=True)
        assert let_go == ["epoch=0.ckpt"]  # of the second epoch none was written
        assert sorted(path.name for path in tmp_path.glob("*.ckpt")) == ["epoch=2.ckpt", "last.ckpt"]
        candidates = parts.candidates(trainer)
        (tmp_path / "last.ckpt").unlink()
        parts.write_last(trainer, candidates)
        parts.write_best(trainer, {**candidates, "val": candidates["val"] - 1, "epoch": torch.tensor(7)})
    assert sorted(path.name for path in tmp_path.glob("*.ckpt")) == ["epoch=7.ckpt", "last.ckpt"]


def test_hooks_of_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[Any] = []

    class CLI(lightning_cli.SubcommandCLI):
        def subcommand_arguments(self, subcommand: str) -> dict[str, Any]:
            return {**super().subcommand_arguments(subcommand), "train_dataloaders": _loader()}

        def run_subcommand(self, subcommand: str) -> None:
            ran.append((subcommand, self.field(self.config, "trainer").max_epochs, self.field(self.config, "no_field")))
            assert "trainer.max_epochs" in self.parser_of(subcommand).get_defaults()
            if self.field(self.config, "ckpt_path") is None:
                super().run_subcommand(subcommand)

    class Rated(_Plain):
        def __init__(self, rate: float = 0.1) -> None:
            super().__init__()
            self.lr = rate

    monkeypatch.setattr("sys.argv", ["fit.py"])
    old = tmp_path / "old.ckpt"
    torch.save({"hyper_parameters": {"rate": 0.7}}, old)
    options = ["logger=false", "enable_checkpointing=false", "accelerator=cpu", "max_epochs=0", "barebones=true"]
    arguments = ["fit", *(f"--trainer.{option}" for option in options), "--seed_everything=0"]
    with names_of("lightning"):
        assert CLI(Rated, args=arguments, save_config_callback=None).model.lr == 0.1
        cli = CLI(Rated, args=[*arguments, f"--ckpt_path={old}", "--model.rate=0.3"], save_config_callback=None)
    assert ran == [("fit", 0, None)] * 2
    assert cli.model.lr == 0.3, "what is typed stays, whatever a checkpoint says"


def test_a_file_of_metrics_that_is_there_is_kept(tmp_path: Path) -> None:
    opened: list[str] = []

    class Writer(lightning_csv.OpenedWriter):
        def open(self) -> None:
            opened.append(self.metrics_file_path)

    (tmp_path / "metrics.csv").write_text("old\n1\n", encoding="utf-8")
    with names_of("lightning"):
        Writer(str(tmp_path))
        lightning_csv.OpenedWriter(str(tmp_path))
    assert opened == [str(tmp_path / "metrics.csv")]
    assert (tmp_path / "metrics.csv").read_text(encoding="utf-8") == "old\n1\n"


# ---------------------------------------------------------------- torch and what stands on it


def test_torch(tmp_path: Path) -> None:
    with names_of("torch"):
        assert for_torch.leaves({"a": [1, (2,)], "b": 3}) == [1, 2, 3]
        kinds = [nn.BatchNorm1d(2), nn.BatchNorm3d(2), nn.SyncBatchNorm(2), nn.LazyBatchNorm2d(), nn.LayerNorm(2)]
        assert [for_torch.is_batch_norm(kind) for kind in kinds] == [True, True, True, True, False]
        inner = nn.Linear(2, 2)
        wrapped = torch.compile(inner, backend="eager")
        assert for_torch.inside_compiled(wrapped) is inner and for_torch.inside_compiled(inner) is None
        before = inner(torch.ones(1, 2))
        for_torch.compile_as(inner, wrapped)
        assert torch.equal(inner(torch.ones(1, 2)), before)
        assert not for_torch.has_forward_pre_hooks(inner)
        handle = inner.register_forward_pre_hook(lambda module, inputs: None)
        assert for_torch.has_forward_pre_hooks(inner)
        handle.remove()
        assert not for_torch.has_forward_pre_hooks(inner)


def test_ddp_leaves_out(tmp_path: Path) -> None:
    module = nn.BatchNorm1d(2)
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    try:
        with names_of("torch"):
            for_torch.leave_out_of_ddp(module, ["running_mean", "bias"])
            wrapped = nn.parallel.DistributedDataParallel(module)
        assert wrapped.parameters_to_ignore == {"running_mean", "bias"}
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.parametrize("workers", [0, 1])
def test_workers_end(workers: int) -> None:
    reader = DataLoader(
        TensorDataset(torch.ones(4, 2)),
        num_workers=workers,
        persistent_workers=workers > 0,
        multiprocessing_context="fork" if workers else None,
    )
    with names_of("torch"):
        for_torch.end_workers(reader, owner=True)  # none yet
        assert len(list(reader)) == 4
        if workers:
            processes = list(reader._iterator._workers)
            assert all(process.is_alive() for process in processes)
        for_torch.end_workers(reader, owner=True)
        if workers:
            assert not any(process.is_alive() for process in processes)
            for_torch.end_workers(reader, owner=False)
            assert reader._iterator._shutdown is True


def test_torchmetrics() -> None:
    metric = MeanMetric()
    metric.update(2.0)
    assert metric.compute() == 2
    with names_of("torchmetrics"):
        metric.mean_value, metric.weight = torch.tensor(8.0), torch.tensor(2.0)
        for_torchmetrics.count_updates(metric, 2)
        assert metric.update_count == 2 and metric.compute() == 4
        assert sorted(metric.metric_state) == ["mean_value", "weight"]


def test_timm(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    model = timm.create_model("resnet10t", num_classes=2)
    with names_of("timm"):
        for_timm.write_settings(model, tmp_path / "config.json", ["a", "b"], {"input_size": (3, 32, 32)})
        found = for_timm.settings_of_folder(tmp_path)
        numbers = for_timm.numbers_by_matcher(["conv1.weight", "layer1.0.x", "fc.bias"], model.group_matcher())
    assert found["num_classes"] == 2 and tuple(found["input_size"]) == (3, 32, 32)
    assert list(numbers) == ["conv1.weight", "layer1.0.x", "fc.bias"]
    assert numbers["conv1.weight"] < numbers["layer1.0.x"] < numbers["fc.bias"]


def test_transformers() -> None:
    from transformers import ViTConfig, ViTForImageClassification

    size = {"hidden_size": 4, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 4}
    config = ViTConfig(**size, image_size=4, patch_size=2, dtype="bfloat16")
    with names_of("transformers"):
        model = for_transformers.new_model(ViTForImageClassification, config)
    assert isinstance(model, ViTForImageClassification) and model.dtype == torch.bfloat16


def test_jsonargparse() -> None:
    from jsonargparse import ArgumentParser

    parser: argparse.ArgumentParser = ArgumentParser()
    parser.add_argument("--rate", type=float)
    with names_of("jsonargparse"):
        assert [action.dest for action in for_jsonargparse.fields_of(parser)] == ["help", "rate"]


# ---------------------------------------------------------------- all of them


def _functions() -> list[Callable[..., Any]]:
    return [
        value
        for module in MODULES
        for value in vars(module).values()
        if inspect.isfunction(value) and value.__module__ == module.__name__
    ]


def test_every_function_is_called_here() -> None:
    called = {
        node.func.attr
        for node in ast.walk(ast.parse(Path(__file__).read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    }
    files = {path.stem for path in Path(for_torch.__file__).parent.glob("*.py")} - {"__init__"}
    assert files == {module.__name__.rpartition(".")[2] for module in MODULES}
    assert {function.__name__ for function in _functions()} <= called


def test_a_name_that_is_gone_is_told_with_its_library() -> None:
    with pytest.raises(pytest.fail.Exception, match=r"torch \d.* no longer has what .*'no_name'"), names_of("torch"):
        torch.nn.no_name  # noqa: B018

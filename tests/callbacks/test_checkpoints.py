"""Checkpoint files, full disks, Ctrl-C and losses that are not numbers."""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from tiny import TinyData, tiny_module, tiny_trainer, weights_hash
from tiny_run import Run, launch, server

from lightning_tl.callbacks import GracefulInterrupt, ResumableCheckpoint, SafeCheckpointIO, TrainingInterrupted


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run."""
    folder = tmp_path_factory.mktemp("run")
    tiny_trainer(folder, [ResumableCheckpoint()], max_epochs=2).fit(tiny_module(), datamodule=TinyData())
    return folder / "checkpoints"


# -------------------------------------------------------------------- what is written when


def test_last_and_best(tmp_path: Path) -> None:
    losses: list[float] = []

    class Watch(Callback):
        def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            losses.append(float(trainer.callback_metrics["val_loss"]))

    checkpoint = ResumableCheckpoint()
    trainer = tiny_trainer(tmp_path, [checkpoint, Watch()], max_epochs=6, plugins=[SafeCheckpointIO()])
    trainer.fit(tiny_module(lr=2.0), datamodule=TinyData())
    best = min(range(6), key=lambda epoch: losses[epoch])
    folder = tmp_path / "checkpoints"
    assert sorted(p.name for p in folder.iterdir()) == [f"best-epoch-{best:02d}.ckpt", "last.ckpt"]
    assert best != 5, "the last epoch is not the best here"
    last = torch.load(folder / "last.ckpt", weights_only=True)
    assert last["global_step"] == 42
    assert torch.load(folder / f"best-epoch-{best:02d}.ckpt", weights_only=True)["global_step"] == 7 * (best + 1)


def test_a_run_without_optimizer_steps_is_saved(tmp_path: Path) -> None:
    module = tiny_module()
    module.automatic_optimization = False
    module.training_step = lambda batch, batch_idx: None  # type: ignore[method-assign]
    trainer = tiny_trainer(tmp_path, [ResumableCheckpoint()], max_epochs=1)
    trainer.fit(module, datamodule=TinyData())
    assert trainer.global_step == 0
    assert (tmp_path / "checkpoints/last.ckpt").is_file() and (tmp_path / "checkpoints/best-epoch-00.ckpt").is_file()


def test_best_waits_for_a_validation(tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path, [ResumableCheckpoint(save_top_k=3)], max_epochs=4, check_val_every_n_epoch=2)
    trainer.fit(tiny_module(), datamodule=TinyData())
    names = sorted(p.name for p in (tmp_path / "checkpoints").iterdir())
    assert names == ["best-epoch-01.ckpt", "best-epoch-03.ckpt", "last.ckpt"]


def test_without_a_monitor_there_is_only_the_last(tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path, [ResumableCheckpoint(monitor=None)], max_epochs=2, limit_val_batches=0)
    trainer.fit(tiny_module(), datamodule=TinyData())
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["last.ckpt"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "best"}, "mode must be min or max, got 'best'"),
        ({"every_n_train_steps": 0}, "every_n_train_steps must be at least 1, got 0"),
        ({"save_top_k": 0}, "save_top_k must be at least 1, got 0"),
    ],
)
def test_bad_arguments(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        ResumableCheckpoint(**options)


def test_unknown_monitor(tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path, [ResumableCheckpoint(monitor="val_acuracy")], max_epochs=1)
    with pytest.raises(ValueError, match=r"'val_acuracy', which is not logged; did you mean 'val_accuracy'\?"):
        trainer.fit(tiny_module(), datamodule=TinyData())


# -------------------------------------------------------------------- files that cannot be read


def truncated(whole: bytes) -> bytes:
    return whole[: len(whole) // 2]


def one_bit_flipped(whole: bytes) -> bytes:
    place = whole.index(b"data/5") + 200  # in a tensor
    return whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda whole: b"", "broken.ckpt is empty"),
        (truncated, "broken.ckpt (.* bytes) is half written, damaged or no checkpoint"),
        (one_bit_flipped, "broken.ckpt is damaged: the checksum of .* is wrong"),
        (lambda whole: b"hello" * 99, "broken.ckpt (495 bytes) is half written, damaged or no checkpoint"),
    ],
)
def test_damaged_files(spoil: Callable[[bytes], bytes], message: str, trained: Path) -> None:
    broken = trained / "broken.ckpt"
    broken.write_bytes(spoil((trained / "last.ckpt").read_bytes()))
    try:
        with pytest.raises(ValueError) as caught:
            SafeCheckpointIO().load_checkpoint(broken)
        assert re.search(message.replace("(", r"\(").replace(")", r"\)"), str(caught.value)), caught.value
        assert "other checkpoints beside it, newest first" in str(caught.value)
        assert str(trained / "last.ckpt") in str(caught.value)
    finally:
        broken.unlink()


class Payload:
    """What a malicious checkpoint would hold."""

    def __reduce__(self) -> Any:
        return (os.system, ("touch /tmp/should-not-exist",))


def test_files_with_objects_run_no_code(trained: Path, tmp_path: Path) -> None:
    state = torch.load(trained / "last.ckpt", weights_only=True)
    torch.save({**state, "extra": Payload()}, tmp_path / "evil.ckpt")
    trainer = tiny_trainer(tmp_path, plugins=[SafeCheckpointIO()])
    with pytest.raises(ValueError, match=r"evil.ckpt holds a Python object \(posix.system\), which could run code"):
        trainer.fit(tiny_module(), datamodule=TinyData(), ckpt_path=str(tmp_path / "evil.ckpt"), weights_only=False)
    assert not Path("/tmp/should-not-exist").exists()


def test_other_files_of_torch_are_no_checkpoints(trained: Path, tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(2)}, tmp_path / "weights.ckpt")
    with pytest.raises(ValueError, match=r"weights.ckpt is no checkpoint of a training run"):
        SafeCheckpointIO().load_checkpoint(tmp_path / "weights.ckpt")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lst.ckpt", "no checkpoint {folder}/lst.ckpt; did you mean {folder}/last.ckpt?"),
        (".", "{folder} is a folder; name a checkpoint file"),
        ("no/last.ckpt", "there is no folder {folder}/no"),
    ],
)
def test_missing_files(name: str, message: str, trained: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        SafeCheckpointIO().load_checkpoint(trained / name)
    assert message.format(folder=trained) in str(caught.value)


def test_objects_are_refused_when_they_are_written(tmp_path: Path, trained: Path) -> None:
    target = tmp_path / "last.ckpt"
    state = torch.load(trained / "last.ckpt", weights_only=True)
    SafeCheckpointIO().save_checkpoint(state, target)
    before = target.read_bytes()
    with pytest.raises(ValueError, match=r"would hold a Python object \(pathlib.*Path\)"):
        SafeCheckpointIO().save_checkpoint({**state, "extra": Path("x")}, target)
    assert target.read_bytes() == before and os.listdir(tmp_path) == ["last.ckpt"]


# -------------------------------------------------------------------- no space left


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte; only root may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("no right to mount a small file system")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def big(megabytes: float) -> dict[str, Any]:
    return {"state_dict": {"weight": torch.zeros(int(megabytes * 2**18))}, "pytorch-lightning_version": "2.6.6"}


@pytest.mark.parametrize("fill", [0, 500_000], ids=["seen beforehand", "found while writing"])
def test_a_full_disk_keeps_the_checkpoint_before(fill: int, small_disk: Path) -> None:
    plugin, target = SafeCheckpointIO(), small_disk / "last.ckpt"
    plugin.save_checkpoint(big(0.3), target)
    before = target.read_bytes()
    too_big = big(0.9)
    if fill:  # no tensor says how large this is
        too_big = big(0.1) | {"text": "x" * 1_000_000}
    with pytest.raises(OSError) as caught:
        plugin.save_checkpoint(too_big, target)
    message = str(caught.value)
    assert f"no space left for the checkpoint {target}: it needs about" in message
    assert "MiB are free; the previous last.ckpt is untouched. Free some space" in message
    assert target.read_bytes() == before and os.listdir(small_disk) == ["last.ckpt"]
    plugin.load_checkpoint(target)


def test_training_on_a_full_disk_can_be_resumed(small_disk: Path) -> None:
    class Fill(Callback):
        def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            if trainer.current_epoch == 2:
                file = os.open(small_disk / "else", os.O_CREAT | os.O_WRONLY)
                with pytest.raises(OSError):
                    while True:
                        os.write(file, b"x" * 4096)
                os.close(file)

    def trainer(*more: Callback) -> pl.Trainer:
        return tiny_trainer(small_disk, [ResumableCheckpoint(), *more], plugins=[SafeCheckpointIO()])

    with pytest.raises(OSError, match=r"no space left .*(previous last.ckpt is untouched|other .*/last.ckpt)"):
        trainer(Fill()).fit(tiny_module(), datamodule=TinyData())
    (small_disk / "else").unlink()
    last = str(small_disk / "checkpoints/last.ckpt")
    assert torch.load(last, weights_only=True)["global_step"] == 14
    trainer().fit(resumed := tiny_module(), datamodule=TinyData(), ckpt_path=last)
    tiny_trainer(small_disk).fit(through := tiny_module(), datamodule=TinyData())  # the trainer first: it seeds
    assert weights_hash(resumed) == weights_hash(through)


def _write_under_limit(folder: str) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
    try:
        SafeCheckpointIO().save_checkpoint(big(0.5), Path(folder) / "last.ckpt")
    except OSError as error:
        (Path(folder) / "message").write_text(str(error))


def test_a_limit_on_file_size_is_told_alike(tmp_path: Path) -> None:
    SafeCheckpointIO().save_checkpoint(big(0.5), tmp_path / "last.ckpt")
    process = server().Process(target=_write_under_limit, args=(str(tmp_path),))
    process.start()
    process.join(60)
    assert "no space left for the checkpoint" in (tmp_path / "message").read_text()
    SafeCheckpointIO().load_checkpoint(tmp_path / "last.ckpt")


# -------------------------------------------------------------------- Ctrl-C and SIGTERM


@pytest.mark.parametrize(
    ("hook", "number", "code"),
    [
        (("on_train_batch_start", 10), signal.SIGINT, 130),
        (("on_before_optimizer_step", 9), signal.SIGTERM, 143),
        (("on_train_epoch_start", 0), signal.SIGINT, 130),  # before the first batch
        (("on_train_batch_start", 0), signal.SIGINT, 130),
        (("on_train_batch_start", 6), signal.SIGINT, 130),  # an epoch's last batch
        (("on_validation_batch_start", 3), signal.SIGINT, 130),
        (("on_train_batch_end", 27), signal.SIGINT, 130),  # the run's last batch
    ],
    ids=lambda value: str(value),
)
@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_signal_ends_the_run_and_it_resumes_exactly(
    hook: Any, number: int, code: int, accumulate: int, tmp_path: Path
) -> None:
    if accumulate == 2 and hook[0] == "on_before_optimizer_step":
        hook = (hook[0], 5)
    run = Run(str(tmp_path / "stopped"), save_every=None, trainer={"accumulate_grad_batches": accumulate})
    through = launch(replace(run, folder=str(tmp_path / "through")))[0]
    stopped = launch(replace(run, signal_at=hook, signal_number=number))[0]
    assert stopped == {"interrupted": code, "checkpoint": str(run.last)}
    resumed = launch(run)[0]
    assert through is not None and resumed is not None
    assert resumed.get("weights") == through["weights"], resumed


def test_a_signal_before_training_ends_at_once(tmp_path: Path) -> None:
    stopped = launch(Run(str(tmp_path), signal_at=("on_fit_start", 0)))[0]
    assert stopped == {"interrupted": 130, "checkpoint": None}


@pytest.fixture
def ctrl_c_raises() -> Iterator[None]:
    """Python's own answer to SIGINT, which shells have their background jobs ignore."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c_raises")
def test_a_second_signal_ends_at_once(tmp_path: Path) -> None:
    class Impatient(Callback):
        def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
            if trainer.global_step == 9:
                os.kill(os.getpid(), signal.SIGINT)
                os.kill(os.getpid(), signal.SIGINT)

    trainer = tiny_trainer(tmp_path, [GracefulInterrupt(), ResumableCheckpoint(), Impatient()])
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with pytest.raises(TrainingInterrupted) as caught:
        trainer.fit(tiny_module(), datamodule=TinyData())
    assert caught.value.checkpoint == str(tmp_path / "checkpoints/last.ckpt")
    assert torch.load(caught.value.checkpoint, weights_only=True)["global_step"] == 7
    with pytest.raises(KeyboardInterrupt):  # back to Python's own
        os.kill(os.getpid(), signal.SIGINT)
    signal.signal(signal.SIGINT, before[0])
    signal.signal(signal.SIGTERM, before[1])


def test_handlers_are_put_back(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    tiny_trainer(tmp_path, [GracefulInterrupt()], max_epochs=1).fit(tiny_module(), datamodule=TinyData())
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


# -------------------------------------------------------------------- losses and weights that are not numbers


class Poison(Callback):
    """Makes one image of epoch 1 not a number."""

    index = -1

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if trainer.current_epoch == 1 and batch_idx == 3:
            batch["inputs"][2] = float("nan")
            self.index = int(batch["index"][2])


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_a_loss_that_is_not_a_number_stops_and_keeps_the_last_good_checkpoint(precision: Any, tmp_path: Path) -> None:
    poison = Poison()
    checkpoint = ResumableCheckpoint(every_n_train_steps=2)
    trainer = tiny_trainer(tmp_path, [poison, checkpoint], precision=precision, plugins=[SafeCheckpointIO()])
    with pytest.raises(FloatingPointError) as caught:
        trainer.fit(tiny_module(), datamodule=TinyData())
    message = str(caught.value)
    assert message.startswith("the loss is nan at epoch 1, batch 3; samples: tile-")
    assert f"tile-{poison.index}" in message
    state = SafeCheckpointIO().load_checkpoint(tmp_path / "checkpoints/last.ckpt")
    assert state["global_step"] == 10
    assert all(torch.isfinite(value).all() for value in state["state_dict"].values())


def test_weights_that_are_not_numbers_are_not_saved(tmp_path: Path) -> None:
    class Ruin(Callback):
        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            if trainer.current_epoch == 1:
                torch.nn.init.constant_(pl_module.head.bias, float("inf"))

    trainer = tiny_trainer(tmp_path, [Ruin(), ResumableCheckpoint()])
    with pytest.raises(FloatingPointError, match=r"not finite after step 14 \(head.bias\); .* stays: .*last.ckpt"):
        trainer.fit(tiny_module(), datamodule=TinyData())
    assert torch.load(tmp_path / "checkpoints/last.ckpt", weights_only=True)["global_step"] == 7

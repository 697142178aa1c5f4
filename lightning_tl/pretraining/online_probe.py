"""`OnlineProbe`: what the features of a pretraining run are worth so far, on labelled samples beside it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities import rank_zero_info
from lightning.pytorch.utilities.seed import isolate_rng
from torch import nn

from lightning_tl.contracts.batches import ImageSpec
from lightning_tl.contracts.conditions import Conditions
from lightning_tl.contracts.data import CacheableData, DigestedImages, DigestedSplits
from lightning_tl.contracts.notice import Notice
from lightning_tl.contracts.seen_images import count_among, seen_numbers
from lightning_tl.metrics.collapse import Collapse
from lightning_tl.metrics.nearest_neighbours import NearestNeighbours
from lightning_tl.pretraining.pretraining import Pretraining
from lightning_tl.pretraining.probed_features import Labelled, probed_features
from lightning_tl.training.convex import solve_linear

L2_GRID = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
_PREFIX = "probe_"
_FEWEST_CLASSES = 2


class OnlineProbe(Callback):
    """Scores a backbone on labelled samples while it is pretrained, and watches for collapse; for every objective.

    Features of the labelled data's training split are what two classifiers are fitted on: a vote of the nearest
    neighbours by cosine (Wu et al. 2018, arXiv 1805.01978, section 3.4), and the exact solution of a linear head. Both
    are scored on the validation split, which also chooses the head's L2; the test split is never read. Logged are
    `probe_knn_accuracy`, `probe_linear_accuracy`, and of the training features `probe_effective_rank`, `probe_spread`
    and `probe_mean_cosine` (see `lightning_tl.metrics.collapse.Collapse`); a notice tells when they say collapse.

    The module is probed with `module.features`, in evaluation mode. Weights, modes and random numbers of the run are as
    without a probe, so a run with it ends with the same bits. Processes share the samples. A checkpoint may monitor any
    of the metrics: with `every_n_epochs: 1`, since nothing is logged in the epochs between.

    Args:
        data: labelled samples with one class each, of the same kind as those of pretraining; they are read without
            augmentation, as the backbone reads.
        every_n_epochs: how often to probe; the last epoch is always probed.
        neighbours: how many vote.
        temperature: of the vote.
        linear: whether to solve the linear head, too, which takes longer than the vote.
        max_train: training samples at most, drawn once; None for all.
    """

    def __init__(
        self,
        data: pl.LightningDataModule,
        every_n_epochs: int = 1,
        neighbours: int = 20,
        temperature: float = 0.07,
        linear: bool = True,
        max_train: int | None = 5000,
    ) -> None:
        for name, value in (("every_n_epochs", every_n_epochs), ("neighbours", neighbours), ("max_train", max_train)):
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if not temperature > 0:
            raise ValueError(f"temperature must be above 0, got {temperature}")
        if not isinstance(data, CacheableData):
            raise ValueError(
                f"the probe reads labelled samples in order, and {type(data).__name__} has no cache_loader and "
                "cache_size: take a data module of labelled samples, such as datamodules.ImageFolderDataModule"
            )
        self.data, self.every_n_epochs, self.neighbours = data, every_n_epochs, neighbours
        self.temperature, self.linear, self.max_train = temperature, linear, max_train
        self._probed = -1  # epoch
        self._warned = False

    # ---------------------------------------------------------------- when

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Set the labelled data up, and probe the weights that training starts with.

        Raises:
            ValueError: the module is no pretraining, or the samples are not what its backbone reads.
        """
        if not isinstance(pl_module, Pretraining):
            raise ValueError(
                f"the probe is for pretraining, and {type(pl_module).__name__} trains on labels: leave it out"
            )
        self._probed, self._warned = -1, False
        spec = pl_module.trained.input_spec
        data: Any = self.data
        data.serve(
            Conditions(
                spec,
                type(pl_module.trained).__name__,
                trainer.strategy.root_device,
                trainer.global_rank,
                trainer.world_size,
                trainer.num_devices,
            )
        )
        with isolate_rng(), _said_of_the_probe():
            if trainer.local_rank == 0:
                data.prepare_data()
            trainer.strategy.barrier("probe")
            data.setup("fit")
        given = getattr(data, "input_spec", None)
        if isinstance(spec, ImageSpec) and isinstance(given, ImageSpec):
            _check_input(spec, given, type(data).__name__)
        self._check_counts(data)
        if told := also_trained_on(trainer.datamodule, data):  # type: ignore[attr-defined]
            rank_zero_info(told)
        if trainer.ckpt_path is None and trainer.global_step == 0:
            metrics = self._measured(trainer, pl_module)
            rank_zero_info(f"Probe before training: {_told(metrics)}")

    def _check_counts(self, data: Any) -> None:
        counts = {split: data.cache_size(split) for split in ("train", "validation")}
        train = min(counts["train"], self.max_train or counts["train"])
        if train < max(2, self.neighbours):
            raise ValueError(
                f"the probe has {train} training samples, fewer than its {self.neighbours} neighbours: lower "
                "neighbours, or give it more samples"
            )
        if counts["validation"] == 0:
            raise ValueError("the probe's data have no samples for validation")

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Where epochs are validated, probe then, so that a checkpoint of that moment can monitor it."""
        if not trainer.sanity_checking and trainer.state.fn == "fit" and trainer.is_last_batch:
            self._probe(trainer, pl_module)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Else probe at the end of the epoch."""
        self._probe(trainer, pl_module)

    def _probe(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        epoch = trainer.current_epoch
        last = epoch + 1 == trainer.max_epochs or trainer.global_step == trainer.max_steps
        if epoch == self._probed or not ((epoch + 1) % self.every_n_epochs == 0 or last):
            return
        self._probed = epoch
        assert isinstance(module, Pretraining)
        metrics = self._measured(trainer, module)
        self._warn(metrics, epoch)
        knn = f"{_PREFIX}knn_accuracy"
        module.log(knn, metrics.pop(knn), prog_bar=True, batch_size=1)
        module.log_dict(metrics, batch_size=1)

    # ---------------------------------------------------------------- what

    def _measured(self, trainer: pl.Trainer, module: Pretraining) -> dict[str, float]:
        """The metrics by name, the same in every process."""
        # Validation, in whose midst this may be asked, is in inference mode, where no head can be fitted.
        with torch.inference_mode(False), torch.enable_grad(), isolate_rng(), evaluating(module):
            train = probed_features(module, self.data, "train", self.max_train, trainer)
            validation = probed_features(module, self.data, "validation", None, trainer)
            found: Any = self._scored(train, validation) if trainer.is_global_zero else None
        found = trainer.strategy.broadcast(found)
        if isinstance(found, str):
            raise FloatingPointError(found)
        return {f"{_PREFIX}{name}": value for name, value in found.items()}

    def _scored(self, train: Labelled, validation: Labelled) -> dict[str, float] | str:
        """The metrics, or why there are none: an exception in one process would leave the others waiting."""
        for features, _ in (train, validation):
            if not torch.isfinite(features).all():
                return "the probe found features that are not finite: the weights are no numbers any more"
        if len(set(train[1].tolist())) < _FEWEST_CLASSES:
            return "the probe's training samples are all of one class: give it samples of two or more"
        classes = int(max(train[1].max(), validation[1].max())) + 1
        found = {"knn_accuracy": _accuracy(self._voted(train, validation[0]), validation[1])}
        if self.linear:
            solved = solve_linear(train, validation, classes, nn.CrossEntropyLoss(), L2_GRID)
            logits = validation[0] @ solved.weight.T + solved.bias
            found["linear_accuracy"] = _accuracy(logits.argmax(1), validation[1])
        return found | Collapse.of(train[0]).named()

    def _voted(self, train: Labelled, queries: torch.Tensor) -> torch.Tensor:
        values, classes = train[0].numpy(), train[1].numpy()
        try:
            known = NearestNeighbours(values, classes, self.neighbours, temperature=self.temperature)
        except ValueError:  # all features are the same: all samples are as near, and the largest class has most votes
            return train[1].bincount().argmax().expand(len(queries))
        return torch.from_numpy(known.predict(queries.numpy()))

    def _warn(self, metrics: dict[str, float], epoch: int) -> None:
        told = Collapse(*(metrics[f"{_PREFIX}{name}"] for name in ("effective_rank", "spread", "mean_cosine"))).told
        if told is not None and not self._warned:
            warnings.warn(
                f"the features are collapsing at epoch {epoch}: {told}. Try a lower learning rate, or look at the "
                "objective's temperature, its negatives or its centring",
                category=Notice,
                stacklevel=2,
            )
        self._warned = told is not None


@contextmanager
def _said_of_the_probe() -> Iterator[None]:
    """Errors say that it is the probe's data, beside those of the run."""
    try:
        yield
    except (ValueError, FileNotFoundError) as error:
        if type(error) not in (ValueError, FileNotFoundError):  # others are not made of a text alone
            raise
        raise type(error)(f"the probe's data: {error} (--probe=null leaves the probe out)") from error


def also_trained_on(unlabelled: Any, labelled: Any) -> str | None:
    """What to tell where images that the probe scores on are pretrained on, too; None where none are known to be.

    Args:
        unlabelled: data of the run.
        labelled: data of the probe.
    """
    if not (isinstance(unlabelled, DigestedImages) and isinstance(labelled, DigestedSplits)):
        return None
    scored = labelled.split_digests("validation")
    found = count_among(seen_numbers(unlabelled.image_digests), scored)
    if not found:
        return None
    return (
        f"{found:,} of the {len(scored):,} images that the probe scores on are among those that are pretrained on: "
        "new images may score lower"
    )


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode, and each part's own mode again afterwards."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes.items():
            part.training = mode


def _check_input(own: ImageSpec, given: ImageSpec, who: str) -> None:
    if (own.image_size, own.channels) != (given.image_size, given.channels) or (
        own.bands and given.bands and own.bands != given.bands
    ):
        told = [
            f"{s.channels} channels ({', '.join(s.bands) or 'unnamed'}) of {s.image_size} pixels" for s in (own, given)
        ]
        raise ValueError(f"the backbone reads {told[0]}, and the probe's {who} gives {told[1]}: they must be the same")


def _accuracy(found: torch.Tensor, target: torch.Tensor) -> float:
    return float((found == target).double().mean())


def _told(metrics: dict[str, float]) -> str:
    return ", ".join(f"{name.removeprefix(_PREFIX).replace('_', ' ')} {value:.3f}" for name, value in metrics.items())

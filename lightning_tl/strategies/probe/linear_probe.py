"""The linear probe: a head on a frozen backbone that runs once."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Literal

from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn
from torch.optim import Optimizer

from lightning_tl.adaptation import Frozen
from lightning_tl.backbones.base import Backbone
from lightning_tl.contracts.batches import ClassificationBatch, StepOutput
from lightning_tl.contracts.data import CacheableData, SeededBatches
from lightning_tl.strategies.probe.features import FeatureLoader, Features, compute_features
from lightning_tl.strategies.probe.loader_samples import LoaderSamples, read_in_this_fit
from lightning_tl.tasks import Values
from lightning_tl.training.convex import solve_linear
from lightning_tl.training.transfer_module import TransferModule

L2_OF_VALUES = (3.0, 10.0)  # beside the others: the curvature of a squared error is larger than that of a probability
L2_GRID = tuple(10.0**k for k in (-6, -5, -4, -3.5, -3, -2.5, -2, -1.5, -1, 0))


class LinearProbe(TransferModule):
    """Train a head on the features of a frozen backbone, which are computed once and kept.

    The features of training and validation samples are computed before the first epoch; epochs then cost next to
    nothing. Test and prediction run the whole model.

    Args:
        backbone: stays as it is.
        solver: "lbfgs" solves the convex problem exactly and without randomness, in one epoch, for each strength in
            `l2_grid` (of values by default also 3 and 10), and keeps the one with the lowest validation loss; the head
            must be linear. "sgd" trains any head with `optimizer` and `schedule` for the Trainer's epochs.
        cached_views: 1 keeps the unaugmented sample alone; n adds n - 1 numbered augmentations of each.
        l2_grid: strengths of the penalty on standardised features.
        memory_limit_mib: features larger than this lie in a memory-mapped file in the run folder.
        **kwargs: as `TransferModule`.
    """

    def __init__(
        self,
        backbone: Backbone,
        solver: Literal["lbfgs", "sgd"] = "lbfgs",
        cached_views: int = 1,
        l2_grid: Sequence[float] = L2_GRID,
        memory_limit_mib: int = 1024,
        **kwargs: Any,
    ) -> None:
        if solver not in ("lbfgs", "sgd"):
            raise ValueError(f"solver must be lbfgs or sgd, got {solver}")
        if cached_views < 1:
            raise ValueError(f"cached_views must be at least 1, got {cached_views}")
        if not l2_grid or min(l2_grid) <= 0:
            raise ValueError(f"l2_grid must hold strengths above 0, got {list(l2_grid)}")
        if memory_limit_mib < 0:
            raise ValueError(f"memory_limit_mib must be at least 0, got {memory_limit_mib}")
        super().__init__(backbone, Frozen(), **kwargs)
        if solver == "lbfgs" and (self.head_hidden is not None or self.dropout):
            raise ValueError("solver lbfgs needs a linear head without dropout; use solver: sgd")
        self.solver, self.cached_views, self.l2_grid = solver, cached_views, tuple(l2_grid)
        self.limit_bytes = memory_limit_mib * 2**20
        self.automatic_optimization = solver == "sgd"
        if solver == "lbfgs":  # which needs one epoch, whatever is set
            warnings.filterwarnings("ignore", message=".*`max_epochs` was not set")

    def setup(self, stage: str) -> None:
        """Take task and classes from the data.

        Raises:
            ValueError: pixels have labels of their own, whose features are too many to keep.
        """
        super().setup(stage)
        if self.task.dense:
            raise ValueError(
                f"{type(self).__name__} keeps one vector of each sample, but the targets are {self.task.name}: use "
                "FineTune with adaptation lightning_tl.adaptation.Frozen"
            )

    def step(self, batch: ClassificationBatch) -> StepOutput:
        """Uses kept `features` where the batch has them, else `inputs`."""
        if "features" not in batch:
            return super().step(batch)
        assert self.head is not None
        logits = self.head(batch["features"])
        target = self.task.shaped(batch["target"])
        return StepOutput(self.loss(logits, self.task.aim(target)), logits, target)

    def configure_optimizers(self) -> Optimizer | None:  # type: ignore[override]
        """Keep the features; solve the head exactly, which needs no optimizer, or make one for `sgd`."""
        # The features come first: this hook is the last one before Lightning asks for the training loader.
        data: Any = self.samples()
        train = compute_features(self.backbone, data, "train", self.cached_views, self.trainer, self.limit_bytes)
        validation = compute_features(self.backbone, data, "validation", 1, self.trainer, self.limit_bytes)
        size, seed = (data.batch_size, data.seed) if isinstance(data, SeededBatches) else (64, 0)
        loader = FeatureLoader(train, size, self.trainer, shuffle=True, seed=seed)
        read_in_this_fit(self.trainer, loader, FeatureLoader(validation, 4096, self.trainer, False))
        if self.solver == "sgd":
            return super().configure_optimizers()
        self._solve(train, validation)
        return None

    def samples(self) -> Any:
        """What can be read once, in order: the data module, or the plain loaders that `trainer.fit` was given.

        Raises:
            ValueError: they cannot.
        """
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        if data is None:
            data = LoaderSamples(self.trainer)
            if self.cached_views > 1:
                raise ValueError(f"cached_views is {self.cached_views}, but plain loaders have no views: use 1")
        if not isinstance(data, CacheableData):
            raise ValueError(
                f"{type(self).__name__} reads every sample once, in order, and {type(data).__name__} has no "
                "cache_loader and "
                "cache_size; add them (see lightning_tl.contracts.data.CacheableData), "
                "or use FineTune with a frozen backbone"
            )
        return data

    def _solve(self, train: Features, validation: Features) -> None:
        if not isinstance(self.head, nn.Linear) or self.head.bias is None:
            raise ValueError(f"solver lbfgs needs nn.Linear with a bias as head, got {self.head}; use solver: sgd")
        assert self.num_classes is not None
        views, target = len(train.values), self._aimed(train.target)
        solution = None
        if self.trainer.is_global_zero:  # one process solves, so that all have the same bits
            solution = solve_linear(
                (
                    train.values.flatten(0, 1),
                    target.repeat(views, *[1] * (target.ndim - 1)),
                ),
                (validation.values[0], self._aimed(validation.target)),
                self.num_classes,
                self.loss,
                (*self.l2_grid, *L2_OF_VALUES) if self._is_of_values() else self.l2_grid,
            )
        solution = self.trainer.strategy.broadcast(solution)
        assert solution is not None
        self.head.weight.data.copy_(solution.weight)
        self.head.bias.data.copy_(solution.bias)
        rank_zero_info(f"Solved the linear probe; L2 {solution.l2:.3g} had the lowest validation loss")
        self._end_after_one_epoch()

    def _end_after_one_epoch(self) -> None:
        self.trainer.fit_loop.max_epochs = 1  # the solution is exact: further epochs would change nothing
        self.trainer.check_val_every_n_epoch = 1  # and the best checkpoint needs its validation
        warnings.filterwarnings("ignore", message=".*this fit will run with no optimizer")

    def _aimed(self, target: Tensor) -> Tensor:
        return self.task.aim(self.task.shaped(target))

    def _is_of_values(self) -> bool:
        return isinstance(self.task, Values) and self.l2_grid == L2_GRID

    def training_step(self, batch: Any, batch_idx: int) -> Tensor | None:  # type: ignore[override]
        """One batch's loss, logged; nothing to train where the head was solved exactly."""
        loss = super().training_step(batch, batch_idx)
        return loss if self.solver == "sgd" else None

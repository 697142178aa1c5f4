"""Contrastive few-shot learning for texts: pairs first, then the exact linear head."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch import Tensor, nn

from lightning_tl.backbones import EmbedsTexts
from lightning_tl.backbones.base import Backbone
from lightning_tl.contracts.batches import TextSpec, classification_batch
from lightning_tl.contracts.data import CacheableData, CountedLabels
from lightning_tl.contracts.notice import Notice
from lightning_tl.losses import PairSimilarity
from lightning_tl.strategies.probe.features import compute_features
from lightning_tl.strategies.probe.linear_probe import L2_GRID
from lightning_tl.strategies.probe.loader_samples import LoaderSamples
from lightning_tl.tasks import OneLabel
from lightning_tl.training.convex import solve_linear
from lightning_tl.training.transfer_module import TransferModule


class ContrastiveFewShot(TransferModule):
    """A sentence encoder learns from pairs of a few labelled texts, then a linear head is solved (SetFit, 2022).

    As Tunstall et al. ("Efficient Few-Shot Learning Without Prompts"): n labels a class give some n² pairs, which say
    more than n labels. In training all pairs of a batch are compared (`PairSimilarity`); before each validation the
    features of all training texts are computed anew and the head is solved exactly on them, with the penalty that is
    best on validation. So validate seldom (`check_val_every_n_epoch`). With several processes each one's pairs are
    those of its own part of a batch.

    Args:
        backbone: one that embeds texts and reads them, such as `HuggingFaceText`.
        lr: learning rate of the encoder.
        pair_loss: called as `pair_loss(features, target)`; default `PairSimilarity`.
        l2_grid: strengths of the head's penalty.
        memory_limit_mib: features larger than this lie in a memory-mapped file in the run folder.
        **kwargs: as `TransferModule`.
    """

    def __init__(
        self,
        backbone: Backbone,
        lr: float = 1e-4,
        pair_loss: nn.Module | None = None,
        l2_grid: Sequence[float] = L2_GRID,
        memory_limit_mib: int = 1024,
        **kwargs: Any,
    ) -> None:
        if not isinstance(backbone, EmbedsTexts) or not isinstance(backbone.input_spec, TextSpec):
            raise ValueError(
                "ContrastiveFewShot needs a backbone that embeds texts, such as "
                f"lightning_tl.backbones.HuggingFaceText, not {type(backbone).__name__}; use NearestClassMean"
            )
        if not l2_grid or min(l2_grid) <= 0:
            raise ValueError(f"l2_grid must hold strengths above 0, got {list(l2_grid)}")
        super().__init__(backbone, lr=lr, **{"backbone_lr": lr, **kwargs})
        if self.head_hidden is not None or self.dropout:
            raise ValueError("the head is solved exactly: it must be linear and without dropout")
        self.pair_loss, self.l2_grid = pair_loss or PairSimilarity(), tuple(l2_grid)
        self.limit_bytes = memory_limit_mib * 2**20

    def setup(self, stage: str) -> None:
        """Take the classes.

        Raises:
            ValueError: the task is another than one label, or there are no pairs of one class.
        """
        super().setup(stage)
        if self.task.name != OneLabel.name:
            raise ValueError(f"pairs are of one label a sample, but the targets are {self.task.name}: use LinearProbe")
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        if stage == "fit" and isinstance(data, CountedLabels):
            found, _ = data.training_counts()
            self._check_counts({name: found.get(name, 0) for name in self.class_names})

    def _check_counts(self, counts: dict[str, int]) -> None:
        missing = [name for name, count in counts.items() if not count]
        if missing:
            raise ValueError(f"classes without a training sample cannot be learned: {', '.join(missing[:10])}")
        alone = [name for name, count in counts.items() if count == 1]
        if len(alone) == len(counts):
            raise ValueError(
                "every class has one training sample, so there are no pairs of one class to learn from: give two or "
                "more, or use NearestClassMean"
            )
        if alone:
            rank_zero_warn(
                f"classes with one training sample are only in pairs of different classes: {', '.join(alone[:10])}",
                category=Notice,
            )

    def configure_head(self, feature_dim: int, num_classes: int) -> nn.Module:
        """A linear layer, which no step trains."""
        return super().configure_head(feature_dim, num_classes).requires_grad_(False)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The loss of a batch's pairs, logged."""
        batch = classification_batch(batch)
        loss: Tensor = self.pair_loss(self.backbone(batch["inputs"]), batch["target"])
        self.log_training(loss, batch)
        return loss

    def on_validation_start(self) -> None:
        """Solve the head on the features of the encoder as it is now."""
        if self.trainer.state.fn == "fit" and not self.trainer.sanity_checking:
            with torch.inference_mode(False), torch.enable_grad():
                self._solve()

    def _solve(self) -> None:
        data: Any = self.trainer.datamodule or LoaderSamples(self.trainer)  # type: ignore[attr-defined]
        if not isinstance(data, CacheableData):
            raise ValueError(
                f"ContrastiveFewShot solves its head on all training samples, and {type(data).__name__} has no "
                "cache_loader and cache_size (see lightning_tl.contracts.data.CacheableData)"
            )
        assert self.num_classes is not None and isinstance(self.head, nn.Linear)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*does not have many workers.*")
            known = [
                compute_features(self.backbone, data, split, 1, self.trainer, self.limit_bytes)
                for split in ("train", "validation")
            ]
        solution = None
        if self.trainer.is_global_zero:  # one process solves, so that all have the same bits
            train, validation = [(features.values[0], features.target) for features in known]
            solution = solve_linear(train, validation, self.num_classes, self.loss, self.l2_grid)
        solution = self.trainer.strategy.broadcast(solution)
        assert solution is not None
        self.head.weight.data.copy_(solution.weight)
        self.head.bias.data.copy_(solution.bias)
        rank_zero_info(f"Solved the head on {len(known[0])} samples; L2 {solution.l2:.3g} was best on validation")

"""Nearest class mean: a class is where its few samples are on average, in the space of a frozen backbone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_tl.backbones.base import Backbone
from lightning_tl.backbones.heads import UnitLength
from lightning_tl.contracts.data import CountedLabels
from lightning_tl.metrics import NotFittedError, fit_temperature
from lightning_tl.strategies.probe.features import Features
from lightning_tl.strategies.probe.linear_probe import LinearProbe
from lightning_tl.tasks import OneLabel

Distance = Literal["euclidean", "cosine"]
_FEWEST = 10  # samples that a temperature is fitted to


class NearestClassMean(LinearProbe):
    """Give a sample the class whose mean is nearest, in the features of a frozen backbone (Mensink et al., 2013).

    Nothing is trained and there is nothing to choose: one pass over the training samples gives the means, which are the
    prototypes of Snell et al. (2017). Probabilities are the softmax of minus half the squared distance over a
    temperature: the likeliest of the training samples, each left out of its own class's mean. It changes no label. As
    the squared length of a sample is the same for all classes, this is a linear head, and is exported as one: for
    `euclidean` its weights are the means and its biases minus half their squared lengths, both over the temperature.

    Args:
        backbone: stays as it is.
        distance: "euclidean", or "cosine": of features and means scaled to length 1.
        cached_views: 1 takes the mean of the unaugmented samples; n of n - 1 numbered augmentations of each as well.
        memory_limit_mib: features larger than this lie in a memory-mapped file in the run folder.
        num_classes: taken from the data module when None.
    """

    def __init__(
        self,
        backbone: Backbone,
        distance: Distance = "euclidean",
        cached_views: int = 1,
        memory_limit_mib: int = 1024,
        num_classes: int | None = None,
    ) -> None:
        if distance not in ("euclidean", "cosine"):
            raise ValueError(f"distance must be euclidean or cosine, got {distance}")
        super().__init__(
            backbone, cached_views=cached_views, memory_limit_mib=memory_limit_mib, num_classes=num_classes
        )
        self.distance = distance

    def setup(self, stage: str) -> None:
        """Take the classes.

        Raises:
            ValueError: the task is another than one label, or a class has no training sample.
        """
        super().setup(stage)
        if self.task.name != OneLabel.name:
            raise ValueError(
                f"NearestClassMean gives each sample one of several classes, but the targets are {self.task.name}: "
                "use LinearProbe"
            )
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        if stage == "fit" and isinstance(data, CountedLabels):
            counts, _ = data.training_counts()
            _check_counts([counts.get(name, 0) for name in self.class_names], self.class_names)

    def configure_head(self, feature_dim: int, num_classes: int) -> nn.Module:
        """A linear layer; for the cosine behind one that scales features to length 1."""
        linear = nn.Linear(feature_dim, num_classes)
        return linear if self.distance == "euclidean" else nn.Sequential(UnitLength(), linear)

    def _solve(self, train: Features, validation: Features) -> None:
        assert self.num_classes is not None and self.head is not None
        linear = self.head[1] if isinstance(self.head, nn.Sequential) else self.head
        assert isinstance(linear, nn.Linear)
        _check_counts(torch.bincount(train.target, minlength=self.num_classes).tolist(), self.class_names)
        solution = None
        if self.trainer.is_global_zero:  # one process, so that all have the same bits
            known = train.values, train.target, self.num_classes, self.distance
            means, temperature = class_means(*known), likeliest_temperature(*known)
            solution = (means / temperature, -means.square().sum(1) / 2 / temperature, temperature)
        solution = self.trainer.strategy.broadcast(solution)
        assert solution is not None
        weight, bias, temperature = solution
        linear.weight.data.copy_(weight)
        linear.bias.data.copy_(bias)
        rank_zero_info(f"Found the means of {self.num_classes} classes; the probabilities are at {temperature:.3g}")
        self._end_after_one_epoch()


def class_means(values: Tensor, target: Tensor, num_classes: int, distance: Distance) -> Tensor:
    """The mean of each class's samples over all views: [num_classes, feature_dim], float64.

    Args:
        values: [views, samples, feature_dim].
        target: [samples] class numbers.
        num_classes: each of which has samples.
        distance: of "cosine" features and their mean are scaled to length 1.
    """
    return _scaled(_sums(values, target, num_classes, distance) / _counts(values, target, num_classes), distance)


def left_out_logits(values: Tensor, target: Tensor, num_classes: int, distance: Distance) -> tuple[Tensor, Tensor]:
    """What each sample would get, were its own class's mean taken without it: logits [n, classes] and targets [n].

    Of samples that are not alone in their class, from their first view; arguments as `class_means`.
    """
    means, counts = class_means(values, target, num_classes, distance), _counts(values, target, num_classes)
    first, own = _scaled(values[0].double(), distance), _scaled(values.double(), distance).sum(0)
    rest = counts[target] - len(values)  # [n, 1]
    left = _sums(values, target, num_classes, distance)[target] - own
    left = _scaled(left / rest.clamp(min=1), distance)
    logits = first @ means.T - means.square().sum(1) / 2
    logits[torch.arange(len(target)), target] = (first * left).sum(1) - left.square().sum(1) / 2
    others = rest[:, 0] > 0
    return logits[others], target[others]


def likeliest_temperature(values: Tensor, target: Tensor, num_classes: int, distance: Distance) -> float:
    """That of the training samples, each left out of its own mean; 1 where they do not tell. As `class_means`."""
    logits, wanted = left_out_logits(values, target, num_classes, distance)
    try:
        return fit_temperature(logits, wanted, fewest=_FEWEST).value if len(logits) else 1.0
    except NotFittedError as error:
        rank_zero_info(f"The probabilities are of plain distances: training has {error}")
        return 1.0


def _scaled(vectors: Tensor, distance: Distance) -> Tensor:
    return F.normalize(vectors, dim=-1) if distance == "cosine" else vectors


def _sums(values: Tensor, target: Tensor, num_classes: int, distance: Distance) -> Tensor:
    sums = torch.zeros(num_classes, values.shape[2], dtype=torch.float64)
    for view in values:
        sums.index_add_(0, target, _scaled(view.double(), distance))
    return sums


def _counts(values: Tensor, target: Tensor, num_classes: int) -> Tensor:
    """Samples of each class over all views: [num_classes, 1]."""
    return len(values) * torch.bincount(target, minlength=num_classes)[:, None]


def _check_counts(counts: Sequence[int], names: Sequence[str]) -> None:
    missing = [name for name, count in zip(names, counts, strict=True) if not count]
    if missing:
        some = ", ".join(missing[:10]) + (", …" if len(missing) > 10 else "")
        raise ValueError(
            f"without a training sample a class has no mean: {some} of {len(names)} classes; add samples or leave "
            "the class out (class_names)"
        )

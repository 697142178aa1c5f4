"""Classification heads."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def check_classes(num_classes: int | None, label_smoothing: float) -> None:
    """Check what describes the classes of a task.

    Raises:
        ValueError: with the value and its limits.
    """
    if num_classes is not None and num_classes < 1:
        raise ValueError(f"num_classes must be at least 1, got {num_classes}")
    if not 0 <= label_smoothing < 1:
        raise ValueError(f"label_smoothing must be in [0, 1), got {label_smoothing}")


def classification_head(
    feature_dim: int, num_classes: int, hidden: int | None = None, dropout: float = 0.0
) -> nn.Module:
    """Features [batch, feature_dim] to logits [batch, num_classes].

    Args:
        feature_dim: of the backbone.
        num_classes: how many logits a sample gets.
        hidden: width of one hidden layer with GELU between; None for a linear head.
        dropout: probability of dropping a feature, before each linear layer, in [0, 1).
    """
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout must be in [0, 1), got {dropout}")
    if hidden is not None and hidden < 1:
        raise ValueError(f"the head's hidden width must be at least 1, got {hidden}; null gives a linear head")
    widths = [feature_dim, num_classes] if hidden is None else [feature_dim, hidden, num_classes]
    layers: list[nn.Module] = []
    for i, (a, b) in enumerate(pairwise(widths)):
        linear = nn.Linear(a, b)
        nn.init.trunc_normal_(linear.weight, std=0.02)
        nn.init.zeros_(linear.bias)
        layers += [nn.GELU()] if i else []
        layers += [nn.Dropout(dropout)] if dropout else []
        layers.append(linear)
    return layers[0] if len(layers) == 1 else nn.Sequential(*layers)


class SimilarityHead(nn.Module):
    """Cosine similarity to a vector for each class, over a temperature.

    Args:
        in_features: length of a feature vector.
        out_features: number of classes.
        temperature: above 0.

    Attributes:
        weight: [out_features, in_features], the classes' vectors.
    """

    def __init__(self, in_features: int, out_features: int, temperature: float = 0.05) -> None:
        super().__init__()
        if not temperature > 0:
            raise ValueError(f"temperature must be above 0, got {temperature}")
        self.in_features, self.out_features, self.temperature = in_features, out_features, temperature
        self.weight = nn.Parameter(torch.randn(out_features, in_features))

    def forward(self, features: Tensor) -> Tensor:
        """Features [batch, in_features] to logits [batch, out_features]."""
        return F.normalize(features, dim=1) @ F.normalize(self.weight, dim=1).T / self.temperature


class UnitLength(nn.Module):
    """Scales each feature vector to length 1."""

    def forward(self, features: Tensor) -> Tensor:
        """[batch, dim] to the same shape."""
        return F.normalize(features, dim=1)


class TemplateMean(nn.Module):
    """The mean over a class's templates, over a temperature; nothing in it is trained.

    Args:
        classes: number of classes.
        templates: number of templates of each class.
        temperature: above 0.
    """

    def __init__(self, classes: int, templates: int = 1, temperature: float = 1.0) -> None:
        super().__init__()
        if not temperature > 0:
            raise ValueError(f"temperature must be above 0, got {temperature}")
        self.classes, self.templates, self.temperature = classes, templates, temperature

    def forward(self, features: Tensor) -> Tensor:
        """Scores [batch, classes * templates], class by class, to logits [batch, classes]."""
        return features.view(-1, self.classes, self.templates).mean(2) / self.temperature


def named_classes(names: tuple[str, ...], num_classes: int | None) -> tuple[str, ...]:
    """What each output of a head stands for; numbers where the data names nothing.

    Args:
        names: the data's.
        num_classes: as it was asked for; None for as many as there are names.

    Raises:
        ValueError: both are known and differ, or neither is.
    """
    if names and num_classes is not None and num_classes != len(names):
        raise ValueError(
            f"num_classes is {num_classes}, but the data has {len(names)} classes "
            f"({', '.join(names[:10])}{', …' if len(names) > 10 else ''}); leave num_classes out to take the data's"
        )
    if not names and num_classes is None:
        raise ValueError("num_classes is not known: the data module has no class_names; set model.num_classes")
    return names or tuple(str(k) for k in range(num_classes or 0))

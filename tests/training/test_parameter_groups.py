"""Which parameters an optimizer is given, with which rate, and which of them decay."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn

from lightning_tl.contracts.layer_groups import LayerGroup
from lightning_tl.training.parameter_groups import check_rates, parameter_groups


class Model(nn.Module):
    """Two linear layers, a norm, a class token and position embeddings."""

    def __init__(self) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, 4))
        self.pos_embed = nn.Parameter(torch.zeros(1, 3, 4))
        self.first, self.norm, self.head = nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 2)


GROUPS = [
    LayerGroup("below", frozenset({"cls_token", "pos_embed", "first.weight", "first.bias"}), ()),
    LayerGroup("norm", frozenset({"norm.weight", "norm.bias"}), ()),
    LayerGroup("head", frozenset({"head.weight", "head.bias"}), ()),
]
RATES = {"below": 0.1, "norm": 0.2, "head": 0.3}


def found(rates: dict[str, float], but: str = "") -> list[tuple[str, str, float, float, list[str]]]:
    model = Model()
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = parameter_groups(model, GROUPS, rates, [n for n in names.values() if n != but], 0.05)
    return [
        (g["name"], g["group"], g["lr"], g["weight_decay"], [names[id(parameter)] for parameter in g["params"]])
        for g in groups
    ]


def test_matrices_decay_and_the_rest_does_not() -> None:
    assert found(RATES) == [
        ("below", "below", 0.1, 0.05, ["first.weight"]),
        ("below/no_decay", "below", 0.1, 0.0, ["cls_token", "first.bias", "pos_embed"]),
        ("norm/no_decay", "norm", 0.2, 0.0, ["norm.bias", "norm.weight"]),
        ("head", "head", 0.3, 0.05, ["head.weight"]),
        ("head/no_decay", "head", 0.3, 0.0, ["head.bias"]),
    ]


def test_what_has_no_rate_or_does_not_train_is_left_out() -> None:
    assert [group[0] for group in found({"head": 0.3})] == ["head", "head/no_decay"]
    assert [group[4] for group in found({"head": 0.3}, but="head.bias")] == [["head.weight"]]


@pytest.mark.parametrize(
    ("rates", "says"),
    [
        ((0.0, None, 1.0, 0.0), "lr must be above 0, got 0.0"),
        ((float("nan"), None, 1.0, 0.0), "lr must be above 0, got nan"),
        ((0.1, 0.0, 1.0, 0.0), "backbone_lr must be above 0, got 0.0; use LinearProbe"),
        ((0.1, None, 0.0, 0.0), "layer_decay must be in (0, 1], got 0.0"),
        ((0.1, None, 1.1, 0.0), "layer_decay must be in (0, 1], got 1.1"),
        ((0.1, None, 1.0, -0.1), "weight_decay must be at least 0, got -0.1"),
    ],
)
def test_rates_that_could_not_train(rates: tuple[float, float | None, float, float], says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        check_rates(*rates)


def test_rates_at_their_limits() -> None:
    check_rates(1e-9, 1e-9, 1.0, 0.0)
    check_rates(1.0, None, 1e-9, 0.0)

"""What `service_life.py` asks for, what comes back, and what a bundle answers in this process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lightning_tl.serving import open_bundle
from lightning_tl.serving.answering import RecommendingModel, Wish

Asked = dict[str, Any]


@dataclass
class Answers:
    """What came back.

    Args:
        found: how often each question was answered so by which version.
        seconds: by phase, from when each was due.
        problems: what was said in place of answers.
        again: requests that were asked again because nobody listened.
        later: requests that were told to come again (503), and did.
    """

    found: Counter[tuple[int, str, tuple[str, ...]]] = field(default_factory=Counter)
    seconds: dict[str, list[float]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    again: int = 0
    later: int = 0


def answer_of(model: RecommendingModel, asked: Asked) -> list[str]:
    """The items that a bundle shows, asked in this process."""
    if "similar" in asked:
        return model.similar(asked["similar"], asked["k"]).items
    fields: dict[str, Any] = {name: tuple(value) if name == "history" else value for name, value in asked.items()}
    if "deny" in fields:
        fields["deny"] = frozenset(fields["deny"])
    return model.recommend([Wish(**fields)])[0].items


def questions_for(bundle: Path, names: Sequence[str]) -> list[Asked]:
    """Users, histories, profiles, a filter and similar items; all stay possible when other items go."""
    model = open_bundle(bundle)
    assert isinstance(model, RecommendingModel)
    draw, made = np.random.default_rng(0), []
    users = model.facts.card["example_users"]
    profile = {
        name: str(fields["values"][0]) for name, fields in model.facts.reads["profile"].items() if "values" in fields
    }
    for user in users:
        some = [str(name) for name in draw.choice(names, 8, replace=False)]
        made += [{"user": user, "k": 100}, {"history": some, "k": 100}, {"user": user, "k": 20, "deny": some}]
        made += [{"similar": some[0], "k": 20}, {"history": some[:3], "k": 10, "diversity": 0.3}]
        made.append({"profile": profile, "k": 20} if profile else {"user": "a stranger", "k": 20})
    return made

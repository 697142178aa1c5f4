"""`Candidate`: a backbone that a user wants to be compared, as it is typed."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import lightning_tl.backbones as room
from lightning_tl.backbones import Backbone
from lightning_tl.backbones.opening.weights_resolver import PACKAGED, shipped_models
from lightning_tl.contracts.class_paths import class_of

TIMM, VISION = "lightning_tl.backbones.TimmBackbone", "lightning_tl.backbones.HuggingFaceVision"
_ROOM = "lightning_tl.backbones."


@dataclass(frozen=True)
class Candidate:
    """Weights by name, with the class that opens them where it is not the recipe's.

    Args:
        typed: on the command line.
        name: of the weights, as `--model.backbone.pretrained` takes it.
        class_path: that opens them; None for the recipe's own.
        options: further arguments of the class, by name.
    """

    typed: str
    name: str
    class_path: str | None = None
    options: tuple[tuple[str, str], ...] = ()

    @classmethod
    def read(cls, typed: str) -> Candidate:
        """From `NAME`, `CLASS:NAME` or either with options behind it, `NAME,image_size=64`.

        Raises:
            ValueError: no name, an option without a value, or a class that is not there or is no backbone.
        """
        first, *more = typed.split(",")
        head, colon, tail = first.partition(":")
        class_path = head if colon and "/" not in head and tail else None  # a path may hold a colon
        name = tail if class_path else first
        options = tuple((key.strip(), value.strip()) for key, _, value in (part.partition("=") for part in more))
        wrong = [part for part, (key, value) in zip(more, options, strict=True) if not key or not value]
        if not name.strip() or wrong:
            raise ValueError(
                f"a candidate is NAME or CLASS:NAME, with options behind it as in NAME,image_size=64; got '{typed}'"
            )
        return cls(typed, name.strip(), None if class_path is None else _backbone_class(class_path), options)

    def arguments(self, own_class: str) -> list[str]:
        """What is typed after a recipe to take this backbone.

        Args:
            own_class: of the recipe's backbone.
        """
        wanted = self.class_path or (TIMM if own_class == VISION and _is_timms(self.name) else own_class)
        switch = [f"--model.backbone={wanted}"] if wanted != own_class else []
        options = [f"--model.backbone.{key}={value}" for key, value in self.options]
        return [*switch, f"--model.backbone.pretrained={self.name}", *options]


def read_candidates(typed: Sequence[str]) -> list[Candidate]:
    """Candidates in the order in which they were typed.

    Raises:
        ValueError: none, one twice, or one that cannot be read.
    """
    if not typed:
        there = ", ".join(offline_names())
        raise ValueError(f"backbones needs --candidates NAME [NAME …]; on this machine there are: {there}")
    found = [Candidate.read(each) for each in typed]
    keys = [(each.name, each.class_path, each.options) for each in found]
    twice = [each.typed for number, each in enumerate(found) if keys[number] in keys[:number]]
    if twice:
        raise ValueError(f"the candidate {twice[0]} is named twice; name each once")
    return found


def offline_names() -> list[str]:
    """Weights that are on this machine without a download."""
    return [*shipped_models(), *(name for name, package in PACKAGED.items() if package.installed)]


def _is_timms(name: str) -> bool:
    """Whether timm alone knows these weights by their name, which is no path and not of the hub."""
    if "/" in name or Path(name).exists():
        return False
    if name in PACKAGED:
        return True
    try:
        from timm.models import is_model
    except ModuleNotFoundError:
        return False
    return bool(is_model(name.partition(".")[0]))


def _backbone_class(path: str) -> str:
    full = path if "." in path else f"{_ROOM}{path}"
    try:
        found = class_of(full)
    except ValueError:
        found = None
    if found is None or not issubclass(found, Backbone):
        known = [name for name, kind in vars(room).items() if inspect.isclass(kind) and issubclass(kind, Backbone)]
        near = difflib.get_close_matches(path.rpartition(".")[2], known, n=3)
        raise ValueError(f"there is no backbone class {path}; there are {', '.join(near or known)}, or a path of yours")
    return full

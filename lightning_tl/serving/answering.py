"""What a served model can be asked, however it computes: by ONNX Runtime from a bundle, or by torch from a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Kind = Literal["images", "texts", "pairs", "recommendations"]


class BadInputError(ValueError):
    """What was asked cannot be answered, and whoever asked can mend it.

    Args:
        message: the value, the limit and the remedy.
        status: of HTTP, in 400 to 499.
    """

    def __init__(self, message: str, status: int = 422) -> None:
        super().__init__(message)
        self.status = status


class UnavailableError(OSError):
    """What a model depends on, such as a store of vectors, does not answer now; whoever asked may come again."""


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """What is known of a served model, for whoever asks it.

    Args:
        kind: what it reads.
        version: hash of everything that its answers depend on; two models of one version answer alike.
        task: "one label", "several labels", "values" or "retrieval".
        class_names: what each output stands for, in order; empty for recommendations.
        reads: fields of an `ImageSpec` or `TextSpec`; of recommendations the length of a history, and the profile's
            fields with their values.
        card: what else stands in the manifest: where it came from, its scores, how well its index finds.
    """

    kind: Kind
    version: str
    task: str
    class_names: tuple[str, ...] = ()
    reads: Mapping[str, Any] = field(default_factory=dict)
    card: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Predictions:
    """Answers to a batch.

    Args:
        outputs: [samples, outputs] float32 probabilities, calibrated where the model has a temperature and that is
            wanted; of values these in their own units.
        features: [samples, dim] float32, of the backbone, before the head.
    """

    outputs: NDArray[np.float32]
    features: NDArray[np.float32]


@runtime_checkable
class PredictingModel(Protocol):
    """A classifier or regressor of images, texts or pairs of texts. Its methods may be called from several threads."""

    facts: ModelFacts

    def prepare(self, raw: bytes | str | tuple[str, str]) -> Any:
        """One sample as the model reads it, before anything is put into a batch.

        Args:
            raw: the bytes of an image file, a text, or a pair of texts, after `facts.kind`.

        Raises:
            BadInputError: no such sample can be read.
        """
        ...

    def predict(self, prepared: Sequence[Any], calibrated: bool = True) -> Predictions:
        """Answers to samples from `prepare`, in their order; one sample's answer does not depend on the others'."""
        ...


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What is to be recommended. One of `user`, `history` and `profile` at least is given.

    Args:
        user: id of somebody whom the model knows.
        history: ids of items, oldest first, in place of what is known of the user.
        profile: fields of the user's profile by name, in place of what is known.
        k: how many items, at least 1.
        exclude: "taken" leaves out what the user took, "none" nothing; None as the model was trained.
        allow: ids to which the choice is limited; None for all.
        deny: ids that are left out.
        where: by column of the table of items, either the values that are allowed, or a pair (lowest, highest) as
            `{"from": …, "to": …}`.
        diversity: in [0, 1): 0 is by score alone; share of maximal marginal relevance (Carbonell & Goldstein, 1998).
        boost: by column of numbers of the table of items the weight by which its value is added to an item's score,
            or `{"how": "multiply", "weight": …}` for score · value ** weight; an empty cell changes nothing.
    """

    user: str | None = None
    history: tuple[str, ...] | None = None
    profile: Mapping[str, str] | None = None
    k: int = 20
    exclude: Literal["taken", "none"] | None = None
    allow: frozenset[str] | None = None
    deny: frozenset[str] = frozenset()
    where: Mapping[str, Any] = field(default_factory=dict)
    diversity: float = 0.0
    boost: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Recommended:
    """Items for a wish, best first.

    Args:
        items: ids; as many as were asked for while so many are eligible.
        titles: of each, empty where there is none.
        scores: cosines, or for popular items their events of late.
        because: for each item the id of the item of the history that is nearest to it; empty without a history.
        history: ids of the items that were read, oldest first.
        by: what decided: "history", "profile" or "popularity".
        note: what whoever reads this should know; empty where nothing is unusual.
        history_titles: of each item of the history, empty where there is none.
    """

    items: list[str]
    titles: list[str]
    scores: list[float]
    because: list[str]
    history: list[str]
    by: Literal["history", "profile", "popularity"]
    note: str = ""
    history_titles: list[str] = field(default_factory=list)


@runtime_checkable
class RecommendingModel(Protocol):
    """A two-tower model with the index of its items. Its methods may be called from several threads."""

    facts: ModelFacts

    def recommend(self, wishes: Sequence[Wish]) -> list[Recommended]:
        """Items for each wish.

        Raises:
            BadInputError: an unknown user, item, field or value, or a k out of range.
        """
        ...

    def similar(self, item: str, k: int) -> Recommended:
        """The items nearest to one.

        Raises:
            BadInputError: there is no such item, or k is out of range.
        """
        ...


@runtime_checkable
class Pictured(Protocol):
    """A recommending model that has pictures of items."""

    pictures: Mapping[str, bytes]  # by an item's id a small WebP file; empty where it has none of any item


@runtime_checkable
class Dependent(Protocol):
    """A model that depends on something outside of its process."""

    def trouble(self) -> str:
        """Why that does not answer now; empty where it does."""
        ...

"""What retrieval asks of a data module once its `setup` has run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from lightning_tl.contracts.batches import ImageSpec
from lightning_tl.contracts.interactions import Exclude, InteractionLog, Queries


class Pictures(Protocol):
    """Pictures of the items, read when they are asked for."""

    known: NDArray[np.bool_]  # [items] whether there is one

    def inputs(self, items: NDArray[np.int64], spec: ImageSpec) -> Tensor:
        """Those of these items: [items, channels, image_size, image_size], normalised."""
        ...


@runtime_checkable
class ReadablePictures(Pictures, Protocol):
    """Pictures that can also be read as they are, to be shown to people."""

    def pixels(self, item: int) -> NDArray[np.uint8]:
        """That of one item: [height, width, 3] RGB.

        Raises:
            ValueError: it has none, or one that cannot be read.
        """
        ...


class UserProfiles(Protocol):
    """What is known of the users, in codes, and what the codes stand for."""

    codes: NDArray[np.int64]  # [users, fields]; 0 for what is not known
    sizes: Sequence[int]  # how many codes each field has
    vocabulary: Mapping[str, Any]  # by field, in order: texts, numbers, lists and dicts that JSON can hold

    def coded_by(self, vocabulary: Mapping[str, Any]) -> UserProfiles:
        """The same users in the codes of another vocabulary, that of a trained model.

        Raises:
            ValueError: a field of it is not known of these users.
        """
        ...


@runtime_checkable
class RetrievalData(Protocol):
    """Users, items, and what happened between them, cut into windows of time."""

    @property
    def training_log(self) -> InteractionLog:
        """Events of the training window alone: vocabularies, counts and popularity come from here."""
        ...

    @property
    def item_texts(self) -> Sequence[str]:
        """[items] title, description and tags in one text, "" where nothing is known; [] without a table of items."""
        ...

    @property
    def item_titles(self) -> Sequence[str]:
        """[items] what people call them."""
        ...

    @property
    def item_pictures(self) -> Pictures | None:
        """None where items have none."""
        ...

    @property
    def profiles(self) -> NDArray[np.int64]:
        """[users, fields] code of each profile field; 0 for what is not known."""
        ...

    @property
    def profile_sizes(self) -> Sequence[int]:
        """How many codes each profile field has."""
        ...

    @property
    def user_profiles(self) -> UserProfiles | None:
        """Where `profiles` and `profile_sizes` come from; asked for only where there are fields."""
        ...

    @property
    def exclude(self) -> Exclude:
        """What is not offered to a user again, see `Queries`."""
        ...

    @property
    def viewed(self) -> InteractionLog | None:
        """Everything that was seen and not taken, of all times; None where that is not known."""
        ...

    @property
    def history_length(self) -> int:
        """The most items of a history that batches hold."""
        ...

    def queries(self, split: str) -> Queries:
        """What is to be foretold in "validation" or "test", each after its rolling history."""
        ...


@runtime_checkable
class SplitByRule(Protocol):
    """It says by which rule events are parted; "temporal" is taken otherwise."""

    @property
    def split(self) -> str:
        """The rule by which events are parted."""
        ...


@runtime_checkable
class DrawnItems(Protocol):
    """It says how likely each item was drawn as a negative of a batch."""

    @property
    def training_chances(self) -> NDArray[np.float64] | None:
        """How likely each item is to be drawn as a negative."""
        ...


@runtime_checkable
class KnownTruth(Protocol):
    """A simulation: it knows how much each user would like each item."""

    @property
    def oracle(self) -> Any:
        """A `Scorer` of that."""
        ...


@runtime_checkable
class LabelledItems(Protocol):
    """Its items are of kinds."""

    @property
    def item_categories(self) -> Sequence[str]:
        """[items], "" for those of no known kind."""
        ...


@runtime_checkable
class LabelledUsers(Protocol):
    """Its users are of kinds."""

    @property
    def profile_labels(self) -> Mapping[str, NDArray[Any]]:
        """By field, [users] the value of each."""
        ...


def split_rule(data: object) -> str:
    """By which rule events are parted."""
    return str(data.split) if isinstance(data, SplitByRule) else "temporal"

"""What requests and answers hold: read, checked, written and described by one set of classes."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lightning_tl.serving.answering import BadInputError

Id = str | int
_PICTURE = "whether there is one at /items/ITEM/picture; left out where the model has none of any item"


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class TextsAsked(_Asked):
    """One text or several."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"text": "a soft dress"}, {"texts": ["one", "two"]}]})
    text: str | None = None
    texts: list[str] | None = Field(default=None, min_length=1)


class PairsAsked(_Asked):
    """Pairs of texts."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"pairs": [["it rains", "it is wet"]]}]})
    pairs: list[Annotated[list[str], Field(min_length=2, max_length=2)]] = Field(min_length=1)


class Span(_Asked):
    """From a value to another, both included; either may be left out."""

    model_config = ConfigDict(serialize_by_alias=True, validate_by_name=False)
    lowest: int | float | str | None = Field(default=None, alias="from")
    highest: int | float | str | None = Field(default=None, alias="to")


class BoostAsked(_Asked):
    """How a column changes scores: score + weight · value, or score · value ** weight."""

    how: Literal["add", "multiply"] = "add"
    weight: float = 1.0


class WishAsked(_Asked):
    """What is to be recommended: `user`, `history` and `profile`, one of them at least."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"user": "u1", "k": 10}, {"history": ["i1", "i2"], "k": 5, "diversity": 0.3}]}
    )
    user: Id | None = None
    history: list[Id] | None = None
    profile: dict[str, Id] | None = None
    k: int = Field(default=20, ge=1)
    exclude: Literal["taken", "none"] | None = None
    allow: list[Id] | None = None
    deny: list[Id] = Field(default_factory=list)
    where: dict[str, list[str | bool | int | float] | Span] = Field(default_factory=dict)
    diversity: float = Field(default=0.0, ge=0, lt=1, strict=False)
    boost: dict[str, float | BoostAsked] = Field(
        default_factory=dict,
        description="by column of numbers of the table of items the weight by which its value is added to a score",
        examples=[{"margin": 0.1}],
    )


class _Answered(BaseModel):
    model: str
    version: str


class Prediction(BaseModel):
    """What is said of one sample; which fields are there goes by the task."""

    label: str | None = Field(default=None, description="most probable class, of one label")
    labels: list[str] | None = Field(default=None, description="classes of at least 0.5, of several labels")
    probabilities: dict[str, float] | None = Field(default=None, description="by class")
    values: dict[str, float] | None = Field(default=None, description="by name, of values")


class Classified(_Answered):
    """Predictions, in the order of the samples."""

    task: str
    predictions: list[Prediction]


class Embedded(_Answered):
    """Features of the backbone, in the order of the samples."""

    dim: int
    embeddings: list[list[float]]


class Item(BaseModel):
    """One recommended item."""

    item: str
    title: str
    score: float
    because: str = Field(default="", description="the item of the history that is nearest to it")
    picture: bool | None = Field(default=None, description=_PICTURE)


class Past(BaseModel):
    """One item of a history."""

    item: str
    title: str
    picture: bool | None = Field(default=None, description=_PICTURE)


class RecommendedItems(_Answered):
    """Items, best first."""

    items: list[Item]
    history: list[Past]
    by: str = Field(description="what decided: history, profile or popularity")
    note: str


class ModelSaid(_Answered):
    """What a model is."""

    kind: str
    task: str
    class_names: list[str]
    reads: dict[str, Any]
    card: dict[str, Any]
    paths: list[str]


class Models(BaseModel):
    """All models of this service."""

    models: list[ModelSaid]


class Reloaded(BaseModel):
    """A model whose files were read anew."""

    model: str
    old_version: str
    version: str


class ReloadedModels(BaseModel):
    """Every model whose files were read anew."""

    reloaded: list[Reloaded]


class State(BaseModel):
    """Whether it lives, or takes requests."""

    status: str


class Problem(BaseModel):
    """What is wrong, in one sentence."""

    error: str


Form = TypeVar("Form", bound=BaseModel)


def fill(form: type[Form], found: Mapping[str, Any]) -> Form:
    """A checked form.

    Raises:
        BadInputError: a field is unknown (the nearest right one is named), missing, or not as it must be.
    """
    try:
        return form.model_validate(found)
    except ValidationError as error:
        raise BadInputError(_said(form, error)) from None


def _said(form: type[BaseModel], error: ValidationError) -> str:
    """The first thing that is wrong, as a sentence."""
    problems = error.errors(include_url=False, include_context=False)
    first = next((one for one in problems if one["type"] == "extra_forbidden"), problems[0])
    where = ".".join(str(part) for part in first["loc"][:2])
    if first["type"] == "extra_forbidden" and len(first["loc"]) == 1:
        return unknown_field(where, sorted(form.model_fields))
    got = repr(first["input"])
    return f"{where}: {first['msg'][:1].lower()}{first['msg'][1:]}, got {got if len(got) < 80 else got[:80] + '…'}"


def unknown_field(name: str, known: list[str]) -> str:
    """That there is no such field, and which there are."""
    near = difflib.get_close_matches(name, known, n=1)
    named = f"did you mean '{near[0]}'?" if near else f"there are: {', '.join(known) or 'none'}"
    return f"there is no field '{name[:80]}'; {named}"

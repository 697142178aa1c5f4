"""Recommended items as they are answered, and their pictures."""

from __future__ import annotations

from collections.abc import Mapping

from lightning_tl.serving.answering import BadInputError, Pictured, Recommended
from lightning_tl.serving.service.forms import Item, Past, RecommendedItems
from lightning_tl.serving.service.served_model import Model

_QUOTED = 80  # characters of an id that a message shows


def shown_items(name: str, model: Model, found: Recommended) -> RecommendedItems:
    """An answer's form; whether items have pictures is said where the model has any.

    Args:
        name: of the model.
        model: that answered.
        found: what it said.
    """
    pictures = _pictures(model)
    because = found.because or [""] * len(found.items)
    titles = found.history_titles or [""] * len(found.history)
    return RecommendedItems(
        model=name,
        version=model.facts.version,
        items=[
            Item(item=item, title=title, score=score, because=near, picture=(item in pictures) if pictures else None)
            for item, title, score, near in zip(found.items, found.titles, found.scores, because, strict=True)
        ],
        history=[
            Past(item=item, title=title, picture=(item in pictures) if pictures else None)
            for item, title in zip(found.history, titles, strict=True)
        ],
        by=found.by,
        note=found.note,
    )


def picture_of(model: Model, item: str) -> bytes:
    """The small image file of an item.

    Raises:
        BadInputError: there is none.
    """
    pictures = _pictures(model)
    if not pictures:
        raise BadInputError("this model has no pictures of items", 404)
    found = pictures.get(item)
    if found is None:
        raise BadInputError(f"there is no picture of an item '{item[:_QUOTED]}'", 404)
    return found


def _pictures(model: Model) -> Mapping[str, bytes]:
    return model.pictures if isinstance(model, Pictured) else {}

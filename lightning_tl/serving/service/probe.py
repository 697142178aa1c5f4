"""A first answer, by which a model shows that it works before anybody depends on it."""

from __future__ import annotations

import io
import math

import numpy as np
from PIL import Image

from lightning_tl.serving.answering import PredictingModel, RecommendingModel, Wish

_SIDE = 32  # pixels


def probe(model: PredictingModel | RecommendingModel) -> None:
    """Let a model answer once.

    Raises:
        ValueError: its answer is no answer.
    """
    if isinstance(model, RecommendingModel):
        known = list(model.facts.card.get("example_users") or ())[:1]  # by whom the user tower answers, too
        found = model.recommend([Wish(history=(), k=1), *(Wish(user=user, k=1) for user in known)])
        if not all(math.isfinite(score) for one in found for score in one.scores):
            raise ValueError("the model gives scores that are not finite")
        return
    raw: bytes | str | tuple[str, str]
    if model.facts.kind == "images":
        raw = _picture(int(model.facts.reads.get("channels", 3)))
    else:
        raw = "a text" if model.facts.kind == "texts" else ("a text", "another")
    given = model.predict([model.prepare(raw)])
    outputs = len(model.facts.class_names)
    if given.outputs.shape != (1, outputs):
        raise ValueError(f"the model gives outputs of shape {given.outputs.shape}, and its classes are {outputs}")
    if not np.isfinite(given.outputs).all():
        raise ValueError(f"the model gives no finite numbers: {given.outputs.tolist()}")


def _picture(channels: int) -> bytes:
    """A file of even grey, as an image with so many bands is written."""
    file = io.BytesIO()
    if channels in (1, 3):
        Image.new("L" if channels == 1 else "RGB", (_SIDE, _SIDE), 128 if channels == 1 else (128,) * 3).save(
            file, "PNG"
        )
    else:
        import tifffile

        tifffile.imwrite(
            file, np.full((_SIDE, _SIDE, channels), 128, np.uint8), planarconfig="contig", photometric="minisblack"
        )
    return file.getvalue()

"""`reads_of`: what has to be known of a model's inputs, as data; and its tokenizer as a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning_tl.contracts.batches import ImageSpec, TextSpec
from lightning_tl.contracts.run_description import RunDescription
from lightning_tl.contracts.text_tokenizer import load_tokenizer
from lightning_tl.training.transfer_module import TransferModule


def reads_of(
    module: TransferModule, description: RunDescription, value_range: tuple[float, float] | None
) -> tuple[str, Mapping[str, Any]]:
    """Kind of the inputs, and what `ImageReader` or `TextReader` has to know of them.

    Args:
        module: of the run.
        description: of the run.
        value_range: of pixels, see `PixelValues`.
    """
    spec = description.image_spec or module.backbone.input_spec
    if isinstance(spec, ImageSpec):
        sizes = {"image_size": spec.image_size, "channels": spec.channels}
        resize = {"resize": "floats"} if description.resizes_floats else {}
        bands = {"mean": list(spec.mean), "std": list(spec.std), "value_range": value_range}
        reading = {"reading": description.input["reading"]} if "reading" in description.input else {}
        return "images", {**sizes, **bands, **resize, **reading}
    assert isinstance(spec, TextSpec)
    most = int(description.input.get("max_length", spec.max_length))
    pairs = len(description.columns.get("text") or ()) == 2
    return "pairs" if pairs else "texts", text_reads(spec, most)


def text_reads(spec: TextSpec, most: int) -> dict[str, Any]:
    """What `TextReader` has to know of texts of `most` tokens."""
    tokenizer = load_tokenizer(spec)
    told = {"max_length": min(most, spec.max_length), "padding": int(tokenizer.pad_token_id), "segments": spec.segments}
    return {**told, "prompt": spec.prompt, "cut": str(tokenizer.truncation_side)}


def write_tokenizer(spec: TextSpec, path: Path) -> None:
    """Write `tokenizer.json`.

    Raises:
        ValueError: the tokenizer is written in Python and has no such form.
    """
    tokenizer = load_tokenizer(spec)
    if not tokenizer.is_fast:
        raise ValueError(
            f"the tokenizer in {spec.tokenizer} ({type(tokenizer).__name__}) is written in Python and has no "
            "tokenizer.json, which a bundle needs: take a model with a fast tokenizer"
        )
    backend = tokenizer.backend_tokenizer
    backend.no_padding()
    backend.no_truncation()
    backend.save(str(path))

"""`export_bundle`: a finished run as a folder that answers without torch and without its data."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np

from lightning_tl.bundling.card import card_facts, card_text
from lightning_tl.bundling.exchangeable import base_sha256
from lightning_tl.bundling.graph import write_graph
from lightning_tl.bundling.int8 import quantise
from lightning_tl.bundling.reads_of import reads_of, write_tokenizer
from lightning_tl.bundling.validation_samples import RawSamples
from lightning_tl.contracts.batches import TextSpec
from lightning_tl.contracts.run_description import RunDescription
from lightning_tl.serving.bundle.manifest import FILE, Manifest, file_sha256
from lightning_tl.serving.models.onnx_predictor import GRAPH, TOKENIZER
from lightning_tl.serving.models.shared_sessions import TRAINED
from lightning_tl.training.transfer_module import TransferModule

_ACTIVATIONS = {"one label": "softmax", "several labels": "sigmoid", "values": "none"}
_PACKAGES = ("lightning-tl", "onnx", "onnxruntime", "tokenizers", "torch", "transformers")


def export_bundle(
    module: TransferModule,
    description: RunDescription,
    run: Path,
    output: Path,
    value_range: tuple[float, float] | None = None,
    temperature: float | None = None,
    checkpoint: Path | None = None,
    int8: RawSamples | None = None,
) -> Manifest:
    """Write a bundle; it appears whole, in place of an earlier one.

    Args:
        module: of the run, with its weights, see `trained_module`.
        description: of the run.
        run: its folder, whose summary goes into the card.
        output: the folder to write.
        value_range: of pixels, see `PixelValues`.
        temperature: that the run fitted for these weights.
        checkpoint: where the weights come from, by whose hash one knows later whether the bundle is still of them.
        int8: samples of validation; with them the weights are kept in 8 bits, and what that costs is measured.

    Raises:
        ValueError: the model cannot be written as a graph, or its tokenizer not as a file.
        OSError: the folder cannot be written.
    """
    weights = {} if checkpoint is None else {"checkpoint": {"name": checkpoint.name, "sha256": file_sha256(checkpoint)}}
    check_place(output)
    kind, reads = reads_of(module, description, value_range)
    output.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f".{output.name}.", dir=output.parent))
    try:
        difference, exchanged = write_graph(module, made / GRAPH, share=int8 is None)
        shared = {}
        if exchanged:
            np.savez(made / TRAINED, **exchanged)  # type: ignore[arg-type]  # names of weights, none an option of savez
            shared = {"shared_base": base_sha256(made / GRAPH, list(exchanged))}
        if isinstance(module.backbone.input_spec, TextSpec):
            write_tokenizer(module.backbone.input_spec, made / TOKENIZER)
        facts = card_facts(run, description, module)
        unhashed = Manifest(
            kind=kind,
            task=str(description.task),
            class_names=description.class_names,
            reads=reads,
            activation=_ACTIVATIONS[str(description.task)],
            temperature=temperature,
            card={**facts, **weights, **shared, "difference_to_torch": difference},
            versions=package_versions(),
        )
        if int8 is not None:
            lost = quantise(made, unhashed, int8)
            unhashed = dataclasses.replace(unhashed, card={**unhashed.card, "int8": lost})
        (made / "README.md").write_text(card_text(unhashed), encoding="utf-8")
        files = sorted(path.relative_to(made).as_posix() for path in made.rglob("*") if path.is_file())
        manifest = Manifest(**{**vars(unhashed), "sha256": {name: file_sha256(made / name) for name in files}})
        (made / FILE).write_text(manifest.text(), encoding="utf-8")
        made.chmod(0o755)
        put_in_place(made, output)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return manifest


def package_versions() -> dict[str, str]:
    """Of what decides how a bundle answers, those that are installed."""
    return {name: importlib.metadata.version(name) for name in _PACKAGES}


def check_place(output: Path) -> None:
    """Refuse a place where no bundle can be put, before long work.

    Raises:
        FileExistsError: something other than a bundle is there.
        PermissionError: nothing may be written there.
    """
    if output.exists() and not (output / FILE).is_file() and (not output.is_dir() or any(output.iterdir())):
        raise FileExistsError(f"{output} is there already and is no bundle: name another --output")
    above = next(path for path in output.absolute().parents if path.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise PermissionError(f"nothing can be written to {above}: name another --output")


def put_in_place(made: Path, output: Path) -> None:
    """Move the new folder into place; the old one is away for one rename at most."""
    if not output.exists():
        os.replace(made, output)
        return
    old = output.with_name(f".{output.name}.old-{os.getpid()}")
    os.replace(output, old)
    os.replace(made, output)
    shutil.rmtree(old, ignore_errors=True)

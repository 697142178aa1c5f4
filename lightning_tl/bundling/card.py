"""The model card of a bundle, as the Hugging Face hub reads it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard, ModelCardData

from lightning_tl.contracts.run_description import RunDescription
from lightning_tl.reports.model_card import LICENCES, TASKS, data_lines, eval_results, number_text, test_lines
from lightning_tl.reports.summary import read_summary
from lightning_tl.serving.bundle.manifest import Manifest
from lightning_tl.training.frozen_weights import backbone_name
from lightning_tl.training.transfer_module import TransferModule


def card_facts(run: Path, description: RunDescription, module: TransferModule) -> dict[str, Any]:
    """What is known of a run, as JSON values for a manifest.

    Args:
        run: its folder.
        description: of the run.
        module: that it trained.
    """
    summary = read_summary(run)
    weights = backbone_name(module.backbone)
    kept = ("accuracy", "macro_f1", "interval", "classes", "values", "calibration_error", "calibrated_error", "samples")
    splits = {name: {k: v for k, v in part.items() if k != "sha256"} for name, part in description.splits.items()}
    return {
        "name": run.name,
        "strategy": type(module).__name__,
        "base_model": weights if not Path(weights).exists() else Path(weights).name,
        "licence": LICENCES.get(weights),
        "parameters": sum(parameter.numel() for parameter in module.parameters()),
        "data": str(description.data.get("class", "")).rpartition(".")[2],
        "splits": splits,
        "dropped": dict(description.dropped),
        "test": {name: (summary.get("test") or {}).get(name) for name in kept if name in (summary.get("test") or {})},
        "against": (summary.get("test") or {}).get("against"),
        "notes": list(summary.get("notes") or ()),
    }


def card_text(manifest: Manifest) -> str:
    """The card, with metadata that the hub takes."""
    facts, task = manifest.card, TASKS[manifest.kind]
    test: Mapping[str, Any] = facts["test"]
    data = ModelCardData(
        library_name="lightning_tl",
        license=facts["licence"] or "unknown",
        base_model=facts["base_model"] if "/" in str(facts["base_model"]) else None,
        pipeline_tag=task,
        tags=["lightning_tl", "onnx", "transfer-learning"],
        model_name=facts["name"],
        eval_results=eval_results(test, task, facts["data"]),
    )
    return str(ModelCard(f"---\n{data.to_yaml()}\n---\n\n{_body(manifest)}"))


def _body(manifest: Manifest) -> str:
    facts = manifest.card
    test: Mapping[str, Any] = facts["test"]
    names = ", ".join(manifest.class_names[:50]) + (" …" if len(manifest.class_names) > 50 else "")
    parts = [
        f"# {facts['name']}",
        f"{facts['strategy']} on {facts['base_model']} ({facts['parameters']:,} parameters), adapted with "
        f"lightning_tl. Reads {manifest.kind}; its outputs ({manifest.task}) are: {names}.",
        "## How to load",
        "```python\nfrom lightning_tl.serving import open_bundle\n\n"
        f'model = open_bundle("FOLDER")\nanswer = model.predict([model.prepare({_example(manifest.kind)})])\n'
        "print(dict(zip(model.facts.class_names, answer.outputs[0])))\n```\n\n"
        "That needs onnxruntime and no torch. `lightning-tl serve --bundle FOLDER` answers over HTTP.",
        "## Data",
        "\n".join(data_lines(facts)),
        "## Test",
        "\n".join(test_lines(test)) or "It was not tested.",
        "## Calibration",
        _calibration(manifest, test),
        *_quantised(facts.get("int8")),
        "## Limits",
        "It knows the classes above and no others: whatever it is shown gets one of them. Scores are those of the test "
        "data named here; on data from elsewhere they are lower, by how much a test there tells.",
        "## Licences",
        f"Weights it started from: {facts['licence'] or 'not known, see where they came from'}. Data: not known to the "
        "program that wrote this card; say it here before you publish.",
    ]
    if facts["notes"]:
        parts += ["## Notes of the run", "\n".join(f"- {note}" for note in facts["notes"])]
    return "\n\n".join(parts) + "\n"


def _quantised(lost: Mapping[str, Any] | None) -> list[str]:
    if lost is None:
        return []
    return [
        "## Weights of 8 bits",
        f"Matrices are kept in 8 bits (dynamic quantisation): {lost['bytes_int8'] / 2**20:.1f} MiB instead of "
        f"{lost['bytes_float32'] / 2**20:.1f}. On {lost['samples']:,} samples of validation the {lost['score']} is "
        f"{number_text(lost['int8'])} instead of {number_text(lost['float32'])}; a probability or value differs by "
        f"{lost['largest_difference']:.2g} at most. The scores above are those of float32.",
    ]


def _example(kind: str) -> str:
    return {"images": 'open("tile.png", "rb").read()', "texts": '"a text"', "pairs": '("a text", "another")'}[kind]


def _calibration(manifest: Manifest, test: Mapping[str, Any]) -> str:
    if manifest.temperature is None:
        return "No temperature was fitted: confidences are those of training."
    before, after = test.get("calibration_error"), test.get("calibrated_error")
    told = (
        f" (expected error of the confidence {number_text(before)} before, {number_text(after)} after)" if after else ""
    )
    return f"Logits are divided by a temperature of {manifest.temperature:.3g}, fitted on validation{told}."

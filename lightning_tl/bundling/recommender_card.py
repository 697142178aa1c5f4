"""The model card of a bundle of recommendations, as the Hugging Face hub reads it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard, ModelCardData

from lightning_tl.contracts.run_description import RunDescription
from lightning_tl.reports.summary import read_summary
from lightning_tl.retrieval import TwoTower
from lightning_tl.search import ItemIndex
from lightning_tl.search.faiss_index.drift import RECALL_NOW
from lightning_tl.serving.bundle.manifest import Manifest, file_sha256

CARD = "index.json"  # of an index


def recommender_facts(
    run: Path, description: RunDescription, module: TwoTower, index: ItemIndex, missing: int, users: int
) -> dict[str, Any]:
    """What is known of a run, as JSON values for a manifest.

    Args:
        run: its folder.
        description: of the run.
        module: that it trained.
        index: of the items.
        missing: how many items of the data the index lacks.
        users: how many are known.
    """
    test = read_summary(run).get("test") or {}
    splits = {name: {k: v for k, v in part.items() if k != "sha256"} for name, part in description.splits.items()}
    return {
        "name": run.name,
        "strategy": type(module).__name__,
        "towers": [type(module.items).__name__, type(module.users).__name__],
        "parameters": sum(parameter.numel() for parameter in module.parameters()),
        "data": str(description.data.get("class", "")).rpartition(".")[2],
        "splits": splits,
        "items": len(index),
        "missing_items": missing,
        "users": users,
        "index": index_facts(index, (run / "index" / CARD).stat().st_mtime),
        "run_index": file_sha256(run / "index" / CARD),
        "test": test.get("models") or {},
        "test_queries": test.get("queries"),
    }


def index_facts(index: ItemIndex, built: float) -> dict[str, Any]:
    """What is known of an index, as JSON values; the recall is that of now where it was measured again.

    Args:
        index: of the items.
        built: when it was written, in UTC seconds.
    """
    facts = {name: value for name, value in index.facts.items() if name not in ("efforts", RECALL_NOW)}
    if RECALL_NOW in index.facts:
        facts["recall_at_100"] = index.facts[RECALL_NOW]
    return {**facts, "built": round(built)}


def recommender_card_text(manifest: Manifest) -> str:
    """The card, with metadata that the hub takes."""
    facts = manifest.card
    data = ModelCardData(
        library_name="lightning_tl",
        license="unknown",
        tags=["lightning_tl", "onnx", "recommendation", "two-tower"],
        model_name=facts["name"],
    )
    return str(ModelCard(f"---\n{data.to_yaml()}\n---\n\n{_body(manifest)}"))


def _body(manifest: Manifest) -> str:
    facts, reads = manifest.card, manifest.reads
    missing = facts["missing_items"]
    profile = ", ".join(reads["profile"]) or "none"
    splits = [f"| {name} | {part.get('samples', 0):,} |" for name, part in facts["splits"].items()]
    parts = [
        f"# {facts['name']}",
        f"Recommends the next item of a user by two towers ({', '.join(facts['towers'])}; {facts['parameters']:,} "
        f"parameters). Knows {facts['items']:,} items and {facts['users']:,} users; reads the last "
        f"{reads['history_length']} items of a history and these profile fields: {profile}.",
        "## How to load",
        "```python\nfrom lightning_tl.serving import open_bundle\nfrom lightning_tl.serving.answering import Wish\n\n"
        'model = open_bundle("FOLDER")\nanswer = model.recommend([Wish(user="ID", k=10)])[0]\n'
        "print(list(zip(answer.items, answer.titles, answer.scores)))\n```\n\n"
        "That needs onnxruntime and faiss-cpu, and no torch. `lightning-tl serve --bundle FOLDER` answers over HTTP.",
        "## Data",
        "\n".join([f"Read by {facts['data'] or 'a data module of its own'}.", "", "| window | events |", "|---|---|"])
        + "\n"
        + "\n".join(splits),
        "## Test",
        _tested(facts["test"]),
        "## Index",
        ", ".join(f"{name} {value}" for name, value in facts["index"].items() if isinstance(value, str | int | float)),
        *_pictures(facts.get("pictures")),
        "## Limits",
        "A stranger without a history gets what was popular when the bundle was written. What users took since is not "
        "known to it: give the history with the request. "
        + (f"{missing:,} items came after the index was made, and are not offered. " if missing else "")
        + "The folder holds the histories of the users whom it knows: share it as you would share those.",
        "## Licences",
        "Weights and data: not known to the program that wrote this card; say it here before you publish.",
    ]
    return "\n\n".join(parts) + "\n"


def _pictures(found: Mapping[str, Any] | None) -> list[str]:
    if not found:
        return []
    side = found["side"]
    lost = f"; {found['unreadable']:,} more could not be read" if found["unreadable"] else ""
    return ["## Pictures", f"Small ones, {side} × {side} at most, of {found['items']:,} items{lost}."]


def _tested(models: Mapping[str, Any]) -> str:
    """A table of the two towers and the baselines, with intervals."""
    if not models:
        return "It was not tested."
    metrics = list(dict.fromkeys(name for model in models.values() for name in (model.get("per_query") or {})))
    lines = ["| model | " + " | ".join(metrics) + " |", "|---" * (len(metrics) + 1) + "|"]
    for name, model in models.items():
        found = model.get("per_query") or {}
        lines.append(f"| {name} | " + " | ".join(_score(found.get(metric)) for metric in metrics) + " |")
    return "\n".join(lines)


def _score(found: Any) -> str:
    if not isinstance(found, Mapping) or not isinstance(found.get("value"), int | float):
        return "–"
    low, high = found.get("low"), found.get("high")
    interval = f" ({low:.3f} to {high:.3f})" if isinstance(low, float) and isinstance(high, float) else ""
    return f"{found['value']:.3f}{interval}"

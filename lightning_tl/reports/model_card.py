"""Model cards as the Hugging Face hub reads them: metadata in YAML, and what is known of a run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from lightning_tl.contracts.run_description import RunDescription
from lightning_tl.tasks import PixelLabels

CARD = "README.md"
TASKS = {"images": "image-classification", "texts": "text-classification", "pairs": "text-classification"}
LICENCES = {"lightning_tl/satellite-vit-tiny": "apache-2.0", "sentence-transformers/all-MiniLM-L6-v2": "apache-2.0"}


def write_model_card(folder: Path, run: Path, description: RunDescription | None, summary: Mapping[str, Any]) -> None:
    """Write the card beside an exported model.

    Args:
        folder: with the model.
        run: folder of the run.
        description: of the run; None where there is none.
        summary: of its test, with the line that loads the model.
    """
    run_json = description or RunDescription()
    kind = str(run_json.input.get("kind", ""))
    weights = str(run_json.model.get("weights") or "")
    base = Path(weights).name if Path(weights).exists() else weights
    splits = {name: {k: v for k, v in part.items() if k != "sha256"} for name, part in run_json.splits.items()}
    facts: dict[str, Any] = {
        "data": str(run_json.data.get("class", "")).rpartition(".")[2],
        "splits": splits,
        "dropped": dict(run_json.dropped),
    }
    test, task = summary.get("test") or {}, TASKS.get(kind)
    task = "image-segmentation" if run_json.task == PixelLabels.name else task
    licence = LICENCES.get(weights)
    data = ModelCardData(
        library_name="lightning_tl",
        license=licence or "unknown",
        base_model=base if "/" in base else None,
        pipeline_tag=task,
        tags=["lightning_tl", "transfer-learning"],
        model_name=run.name,
        eval_results=eval_results(test, task, facts["data"]),
    )
    strategy = str(run_json.model.get("class", "")).rpartition(".")[2] or "A model"
    names = ", ".join(run_json.class_names[:50]) + (" …" if len(run_json.class_names) > 50 else "")
    line, calibration = (summary.get("model") or {}).get("load", ""), run_json.calibration
    confidence = (
        f"Divide logits by {calibration['temperature']:.3g}, fitted on validation, for calibrated confidences."
        if "temperature" in calibration
        else "No temperature was fitted: confidences are those of training."
    )
    parts = [
        f"# {run.name}",
        f"{strategy} on {base or 'weights of its own'}, adapted with lightning_tl. Its outputs "
        f"({run_json.task or 'of an unknown task'}) are: {names}.",
        "## How to load",
        f"```python\n{line}\n```",
        "## Data",
        "\n".join(data_lines(facts)),
        "## Test",
        "\n".join(test_lines(test)) or "It was not tested.",
        "## Calibration",
        confidence,
        "## Limits",
        "It knows the outputs above and no others. Scores are those of the test data named here; on data from "
        "elsewhere they are lower, by how much a test there tells.",
        "## Licences",
        f"Weights it started from: {licence or 'not known, see where they came from'}. Data: not known to the program "
        "that wrote this card; say it here before you publish.",
    ]
    text = str(ModelCard(f"---\n{data.to_yaml()}\n---\n\n" + "\n\n".join(parts) + "\n"))
    (folder / CARD).write_text(text, encoding="utf-8")


def eval_results(test: Mapping[str, Any], task: str | None, data: str) -> list[EvalResult] | None:
    """Accuracy and macro-F1 as the hub takes them; None where there are none."""
    results = [
        EvalResult(
            task_type=task or "other",
            dataset_type=data or "unknown",
            dataset_name=data or "unknown",
            dataset_split="test",
            metric_type=kind,
            metric_name=name,
            metric_value=round(float(test[name]), 4),
        )
        for name, kind in (("accuracy", "accuracy"), ("macro_f1", "f1"), ("miou", "mean_iou"))
        if isinstance(test.get(name), int | float)
    ]
    return results or None


def data_lines(facts: Mapping[str, Any]) -> list[str]:
    """Where samples came from, how many each split has, and what was left out."""
    lines = [f"Read by {facts['data'] or 'a data module of its own'}.", "", "| split | samples |", "|---|---|"]
    lines += [f"| {name} | {part.get('samples', 0):,} |" for name, part in facts["splits"].items()]
    return lines + [f"\nLeft out: {count:,}, {reason}." for reason, count in facts["dropped"].items() if count]


def test_lines(test: Mapping[str, Any]) -> list[str]:
    """What a test found: accuracy with its interval, scores of classes, or errors of values."""
    lines = []
    if isinstance(test.get("accuracy"), int | float):
        interval = test.get("interval") or {}
        spread = (
            f", 95% interval {interval['low']:.3f} to {interval['high']:.3f} over {interval['over']}"
            if interval
            else ""
        )
        lines += [f"Accuracy {test['accuracy']:.3f} on {test.get('samples', 0):,} samples{spread}."]
    if isinstance(test.get("miou"), int | float):
        interval = test.get("miou_interval") or {}
        spread = f", 95% interval {interval['low']:.3f} to {interval['high']:.3f}" if interval else ""
        lines += [f"Mean IoU {test['miou']:.3f} on {test.get('samples', 0):,} images{spread}."]
        lines += ["", "| class | IoU | recall | precision | pixels |", "|---|---|---|---|---|"]
        lines += [
            f"| {one['name']} | {number_text(one['iou'])} | {number_text(one['recall'])} | "
            f"{number_text(one['precision'])} | {one['pixels']:,} |"
            for one in test["pixel_classes"]
        ]
    if classes := test.get("classes"):
        lines += ["", "| class | recall | precision | F1 | n |", "|---|---|---|---|---|"]
        lines += [
            f"| {one['name']} | {number_text(one.get('recall'))} | {number_text(one.get('precision'))} | "
            f"{number_text(one.get('f1'))} | {one.get('support', '')} |"
            for one in classes
        ]
    for value in test.get("values") or ():
        lines.append(
            f"- {json.dumps({name: one for name, one in value.items() if isinstance(one, str | int | float)})}"
        )
    return lines


def number_text(value: Any) -> str:
    """With three digits; a dash where there is none."""
    return f"{value:.3f}" if isinstance(value, int | float) else "–"

"""Which measure a run is scored by."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning_tl.choosing.study.measures.absolute_error import AbsoluteError
from lightning_tl.choosing.study.measures.image_iou import ImageIoU
from lightning_tl.choosing.study.measures.measure import Measure
from lightning_tl.choosing.study.measures.right_share import RightShare
from lightning_tl.choosing.study.measures.user_gain import UserGain
from lightning_tl.contracts.run_description import RunDescription

TASKS = ("one label", "several labels", "values", "pixel labels", "retrieval")


def measure_facts(run: Path) -> dict[str, Any]:
    """What decides the measure of a run, as JSON has it: nothing where the run does not say what it learned.

    Args:
        run: its folder.
    """
    described = RunDescription.read(run)
    if described is None:
        return {}
    facts: dict[str, Any] = {"task": described.task}
    if described.task == "values":
        facts |= {"names": list(described.class_names), "spreads": described.targets["std"]}
    return facts | ({"items": int(described.data["items"])} if described.task == "retrieval" else {})


def measure_of(facts: Mapping[str, Any]) -> Measure:
    """The measure of a run.

    Args:
        facts: from `measure_facts`; runs of earlier versions, which say nothing, are of classification.

    Raises:
        ValueError: it learned what no measure is for.
    """
    task = facts.get("task", TASKS[0])
    if task not in TASKS:
        raise ValueError(f"a study compares models of {', '.join(TASKS)}, and this recipe predicts {task or 'none'}")
    if task == "values":
        return AbsoluteError(facts["names"], facts["spreads"])
    if task == "pixel labels":
        return ImageIoU()
    return UserGain(facts["items"]) if task == "retrieval" else RightShare()

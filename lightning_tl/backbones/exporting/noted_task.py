"""Says in an exported folder what its model's outputs are."""

from __future__ import annotations

import json
from pathlib import Path

from lightning_tl.tasks import OneLabel, Task


def note_task(folder: Path, task: Task) -> None:
    """Write the task into the configuration of a classifier of transformers, or into the description beside a head.

    One label is what every loader takes a classifier for, so nothing is written of it. With `problem_type` the
    pipelines of transformers know whether outputs become a softmax or a sigmoid each.
    """
    if isinstance(task, OneLabel):
        return
    for name, key, field, value in (
        ("config.json", "id2label", "problem_type", task.hugging_face),
        ("classifier.json", "class_names", "task", task.name),
    ):
        file = folder / name
        if not file.is_file():
            continue
        settings = json.loads(file.read_text(encoding="utf-8"))
        if key in settings:
            settings[field] = value
            file.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")

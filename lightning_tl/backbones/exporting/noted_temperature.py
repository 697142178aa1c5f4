"""Says in an exported folder at which temperature its model's probabilities are calibrated."""

from __future__ import annotations

import json
from pathlib import Path

FIELD = "calibration_temperature"


def note_temperature(folder: Path, temperature: float) -> None:
    """Write the temperature into the configuration of a model, or into the description beside a head.

    The loaders of the families leave a field alone that they do not know: the model's logits stay as they are, and
    who wants calibrated probabilities divides by it.

    Args:
        folder: that was exported.
        temperature: by which logits are divided.
    """
    for name in ("config.json", "classifier.json"):
        file = folder / name
        if file.is_file():
            settings = json.loads(file.read_text(encoding="utf-8"))
            file.write_text(json.dumps({**settings, FIELD: temperature}, indent=2) + "\n", encoding="utf-8")
            return

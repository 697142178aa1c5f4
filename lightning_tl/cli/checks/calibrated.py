"""Whether a run can predict at a temperature."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning_tl.cli.errors import UserError
from lightning_tl.cli.options import Options
from lightning_tl.contracts.run_description import RunDescription


def calibrate(model: Any, options: Options, checkpoint: Any) -> None:
    """Let the model predict at the temperature of its run, where `--calibrated` asks for it.

    Args:
        model: that is to predict.
        options: with the run.
        checkpoint: the file that its weights come from.

    Raises:
        UserError: there is no temperature, or it belongs to other weights.
    """
    if not options.calibrated:
        return
    if options.run is None:
        raise UserError("--calibrated takes the temperature of a run: it needs --run RUN_FOLDER")
    description = RunDescription.read(options.run)
    kept = description.calibration if description is not None else {}
    if "temperature" not in kept:
        why = kept.get("why", "none was fitted on validation, as in runs of earlier versions")
        raise UserError(f"{options.run} has no temperature to calibrate with ({why}): leave --calibrated out")
    if kept["checkpoint"] != (name := Path(str(checkpoint)).name):
        other = "leave --calibrated or --ckpt_path out"
        raise UserError(f"the temperature of {options.run} belongs to {kept['checkpoint']}, not to {name}: {other}")
    model.calibration_temperature = float(kept["temperature"])

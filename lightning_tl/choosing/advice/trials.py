"""Short real runs of strategies, from which the cost of a whole run is told."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from lightning_tl.choosing.advice.cost import Cost, StepTimes
from lightning_tl.choosing.advice.note_step_times import FILE, NoteStepTimes
from lightning_tl.choosing.study.arm import Arm
from lightning_tl.choosing.study.processes import Job, Processes
from lightning_tl.storage.partial_file import write_whole

STEPS, EPOCHS, VALIDATION_STEPS = 10, 2, 5  # of a short run
_NOTED = f"--trainer.callbacks+={NoteStepTimes.__module__}.{NoteStepTimes.__qualname__}"
_WHOLE = 4_000  # samples, up to which a strategy that reads each of them once is run as it is
_SHARES = (0.1, 0.3)  # of the labels of more samples, from which the whole is told


@dataclass
class Trials:
    """Runs strategies for some seconds each, below a folder that may be removed.

    Args:
        folder: of the trials.
        processes: run the commands.
        fields: that all runs have, as on a command line.
        say: tells a line of progress.

    Attributes:
        labels: training samples, from `count_labels`, as are the others.
        parameters: of the network.
        latency_ms: of its backbone, for one sample.
        knows_its_source: whether features of what the backbone was pretrained on came with it.
    """

    folder: Path
    processes: Processes
    fields: Sequence[str]
    say: Callable[[str], None]
    labels: int = field(default=0, init=False)
    parameters: int = field(default=0, init=False)
    latency_ms: float = field(default=0.0, init=False)
    knows_its_source: bool = field(default=False, init=False)

    def cost(self, arm: Arm) -> Cost:
        """What a whole run of an arm takes.

        Raises:
            ValueError: the arm cannot run, with its own message.
        """
        return self._of_steps(arm) if arm.search else self._of_passes(arm)

    def _of_steps(self, arm: Arm) -> Cost:
        """Of a strategy that trains by steps, with everything thawed: of one that thaws layers, at most that."""
        short = [
            f"--trainer.max_epochs={EPOCHS}",
            f"--trainer.limit_train_batches={STEPS}",
            f"--trainer.limit_val_batches={VALIDATION_STEPS}",
            "--trainer.check_val_every_n_epoch=1",
            _NOTED,
            "--unfreezing=null",
            "--early_stopping=null",
        ]
        run = self.run(arm, "steps", short)
        times = StepTimes.read(run / FILE)
        summary = _summary(run)
        epochs, capped = self._epochs(arm, times)
        seconds = times.seconds(epochs, summary["seconds"]["training"]) * capped
        self.say(f"{arm.name}: {times.step_s:.3f} s a step, {epochs} epochs of {times.whole_steps:,} steps")
        return Cost(seconds, _memory(summary))

    def _epochs(self, arm: Arm, times: StepTimes) -> tuple[int, float]:
        """Epochs of a whole run, and the share of them that it trains where its steps are limited."""
        trainer = {**(arm.recipe.get("trainer") or {}), **_given(self.fields)}
        most = trainer.get("max_steps")
        epochs = trainer.get("max_epochs")
        if most is not None and int(most) > 0:
            needed = max(1, -(-int(most) // max(1, times.whole_steps)))
            if epochs in (None, -1) or int(epochs) >= needed:
                return needed, min(1.0, int(most) / (needed * times.whole_steps))
        if epochs is None or int(epochs) < 1:
            raise ValueError(
                f"the recipe of {arm.name} has no number of epochs or steps, so its time cannot be told: set "
                "--trainer.max_epochs"
            )
        return int(epochs), 1.0

    def _of_passes(self, arm: Arm) -> Cost:
        """Of a strategy that reads every sample once: all of them where they are few, else from two shares."""
        if self.labels <= _WHOLE:
            summary = _summary(self.run(arm, "whole", []))
            self.say(f"{arm.name}: {summary['seconds']['training']:.1f} s, run as it is")
            return Cost(summary["seconds"]["training"], _memory(summary))
        shares = [share * _WHOLE / self.labels for share in _SHARES]
        found = [
            _summary(self.run(arm, f"share-{k}", [f"--data.label_fraction={s:.6f}"])) for k, s in enumerate(shares)
        ]
        few, more = (summary["seconds"]["training"] for summary in found)
        slope = max(0.0, more - few) / (shares[1] - shares[0])
        seconds = more + slope * (1 - shares[1])
        self.say(f"{arm.name}: {seconds:.0f} s, from {shares[1]:.1%} of the labels")
        return Cost(seconds, max(_memory(summary) for summary in found))

    def count_labels(self, arm: Arm) -> int:
        """How many training samples there are: from a run of one step.

        Raises:
            ValueError: the arm cannot run, or the data do not say.
        """
        one = ["--trainer.max_epochs=1", "--trainer.limit_train_batches=1", "--trainer.limit_val_batches=1"]
        run = self.run(arm, "count", [*one, _NOTED, "--unfreezing=null", "--early_stopping=null"])
        times = StepTimes.read(run / FILE)
        self.latency_ms, self.knows_its_source = times.latency_ms, times.knows_its_source
        self.parameters = int((_summary(run).get("parameters") or {}).get("total", 0))
        counts = ((_summary(run).get("data") or {}).get("splits") or {}).get("train") or {}
        self.labels = int(counts.get("samples", 0))
        if not self.labels:
            raise ValueError("the data do not say how many training samples they have: there is nothing to advise by")
        return self.labels

    def run(self, arm: Arm, name: str, options: Sequence[str]) -> Path:
        """Train an arm in a process of its own, without a test; the run folder.

        Args:
            arm: what to train.
            name: of the run.
            options: that this run has beside the fields of all.

        Raises:
            ValueError: it failed, with its own message.
        """
        recipe = self.folder / "recipes" / f"{arm.name}.yaml"
        recipe.parent.mkdir(parents=True, exist_ok=True)
        write_whole(recipe, yaml.safe_dump(arm.recipe, sort_keys=False, allow_unicode=True))
        run = self.folder / arm.name / name
        fixed = ["--test=false", "--report.export=false", "--trainer.enable_progress_bar=false"]
        command = ["fit", "--recipe", str(recipe), "--run_folder", str(run), *fixed, *self.fields, *options]
        for _, error in self.processes.run([Job(command, self.folder / "logs" / f"{arm.name}-{name}.txt")]):
            if error is not None:
                raise ValueError(error)
        return run


def _summary(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    return found


def _memory(summary: dict[str, Any]) -> int:
    return int(summary.get("peak_gpu_memory_bytes") or summary.get("peak_memory_bytes") or 0)


def _given(fields: Sequence[str]) -> dict[str, Any]:
    pairs = (field.removeprefix("--trainer.").split("=", 1) for field in fields if field.startswith("--trainer."))
    return {name: yaml.safe_load(value) for name, value in pairs}

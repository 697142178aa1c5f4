"""What a study asks of the trial of each arm, before anything long begins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning_tl.choosing.study.arm import Arm
from lightning_tl.choosing.study.measures import UserGain, measure_facts, measure_of
from lightning_tl.choosing.study.outcome import monitored
from lightning_tl.choosing.study.plan import StudyPlan
from lightning_tl.contracts.run_description import RunDescription

_REMEDY = "--checkpoint.monitor=val_mrr --checkpoint.mode=max"


class Trials:
    """Checks that arms can be compared: what they predict, and that they learn and are tested on the same.

    Args:
        plan: of the study.
    """

    def __init__(self, plan: StudyPlan) -> None:
        self.plan = plan
        self._first: tuple[str, dict[str, dict[str, Any]]] | None = None

    def check(self, arm: Arm, run: Path) -> None:
        """Look at the folder of an arm's trial.

        Args:
            arm: that was tried.
            run: its folder; one that is gone was looked at before.

        Raises:
            ValueError: the arm cannot be compared with the others.
        """
        described = RunDescription.read(run) if run.is_dir() else None
        if described is None:
            return
        measure, splits = measure_of(measure_facts(run)), described.splits
        if not measure.has_labels and any(size is not None for size in self.plan.labels):
            raise ValueError(f"it predicts {described.task}, which have no classes: leave out --labels_per_class")
        if arm.search and not splits.get("validation", {}).get("samples", 1):
            how = "--data.train_on_validation=false" if described.task == "retrieval" else "a validation split"
            raise ValueError(f"it has no validation, by which its rate could be chosen: set {how}")
        if arm.search and isinstance(measure, UserGain) and monitored(run) is None:
            raise ValueError(f"its checkpoint monitors nothing, by which its rate could be chosen: set {_REMEDY}")
        tested = splits.get("test", {})
        if not tested.get("samples", 1):
            raise ValueError("it has no test samples")
        if tested.get("users", 2) < 2:
            raise ValueError(f"its test window has {tested['users']} user, and intervals need 2: let it begin earlier")
        self._same(arm.name, described)

    def _same(self, name: str, described: RunDescription) -> None:
        # Labels are drawn anew for each number of them; of a log all windows must be the same.
        compared = ("train", "validation", "test") if described.task == "retrieval" else ("test",)
        if self._first is None:
            self._first = name, described.splits
        first, before = self._first
        for split in compared:
            one, other = (splits.get(split, {}).get("sha256", "") for splits in (before, described.splits))
            if one != other:
                raise ValueError(
                    f"its data are not those of {first}: other {split} samples ({other[:12]}…, there {one[:12]}…); "
                    "give both the same data, windows and rule of exclusion"
                )

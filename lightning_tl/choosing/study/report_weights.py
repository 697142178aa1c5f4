"""What a report says of the weights that arms start from."""

from __future__ import annotations

from lightning_tl.choosing.study.compare import Chosen
from lightning_tl.choosing.study.plan import StudyPlan
from lightning_tl.choosing.study.report_text import Section
from lightning_tl.choosing.study.study_folder import StudyFolder
from lightning_tl.contracts.seen_images import SEEN
from lightning_tl.reports.summary import read_summary


def weights_section(plan: StudyPlan, folder: StudyFolder, chosen: Chosen) -> Section:
    """Where the weights of a study come from, and which of them were pretrained on images of its test.

    Args:
        plan: of the study.
        folder: with its runs.
        chosen: those that were tested.
    """
    named = {arm.weights["name"]: arm.weights for arm in plan.arms if arm.weights}
    rows = [[name, own["place"], own["told"]] for name, own in named.items()]
    seen: dict[str, str] = {}
    for cell in chosen.cells(plan):
        own = plan.arm(cell.arm).weights
        if own is not None and own["name"] not in seen:
            notes = read_summary(folder.run(cell)).get("notes") or []
            if told := [note for note in notes if note.startswith(SEEN)]:
                seen[own["name"]] = told[0]
    sentences = [f"{name}: {note}. Its scores are not of images unseen." for name, note in seen.items()]
    sentences = sentences or (
        ["What the weights saw is known where a provenance.json lies beside them."] if rows else []
    )
    return Section("Weights", sentences, ["weights", "place", "pretrained by"], rows)

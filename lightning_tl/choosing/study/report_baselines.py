"""The part of a study's report about simple baselines that the runs' own tests measured."""

from __future__ import annotations

from collections.abc import Sequence

from lightning_tl.choosing.study.measures import Measure
from lightning_tl.choosing.study.plan import StudyPlan
from lightning_tl.choosing.study.report_text import Section
from lightning_tl.choosing.study.scores import Difference, against_baselines

_WORDS = {"ahead": "beats", "behind": "loses to", "undecided": "undecided against"}


def baseline_section(plan: StudyPlan, gaps: Sequence[Difference], measure: Measure) -> Section:
    """Every arm against every simple baseline.

    Args:
        plan: of the study.
        gaps: all differences of the study.
        measure: by which they are.
    """
    found, sentences = against_baselines(plan, gaps), []
    for arm in dict.fromkeys(gap.first for gap in found):
        own = {verdict: [g.second for g in found if g.first == arm and g.verdict == verdict] for verdict in _WORDS}
        if own["behind"]:
            sentences.append(f"{arm} loses to {', '.join(own['behind'])}: what is simpler does better here.")
        if own["undecided"]:
            sentences.append(f"{arm} is not shown to beat {', '.join(own['undecided'])}.")
        if not own["behind"] and not own["undecided"]:
            sentences.append(f"{arm} beats every simple baseline.")
    rows = [[gap.first, _WORDS[gap.verdict], gap.second, f"{gap.interval.mean:+{measure.form}}"] for gap in found]
    return Section("Against simple baselines", sentences, ["strategy", "verdict", "baseline", "difference"], rows)

"""The report of a study: sentences, tables and pictures, as HTML that opens from disk, Markdown and Parquet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from lightning_tl.choosing.study.compare import Chosen
from lightning_tl.choosing.study.measures import Measure
from lightning_tl.choosing.study.outcome import LOSS
from lightning_tl.choosing.study.plan import StudyPlan, labels_text
from lightning_tl.choosing.study.report_baselines import baseline_section
from lightning_tl.choosing.study.report_pictures import draw_costs, draw_curves, draw_scores, draw_searches
from lightning_tl.choosing.study.report_rows import gap_row, score_row
from lightning_tl.choosing.study.report_text import Section, html_page, markdown
from lightning_tl.choosing.study.report_weights import weights_section
from lightning_tl.choosing.study.scores import Difference, Score, differences, scores, transfer
from lightning_tl.choosing.study.source import Source
from lightning_tl.choosing.study.source_left import source_left
from lightning_tl.choosing.study.source_report import source_sections
from lightning_tl.choosing.study.study_folder import StudyFolder
from lightning_tl.choosing.study.tested import baseline_tables, study_measure
from lightning_tl.metrics.block_bootstrap import BootstrapInterval
from lightning_tl.reports.resources import duration_text, memory_text
from lightning_tl.storage.partial_file import write_whole


def write_report(plan: StudyPlan, folder: StudyFolder, chosen: Chosen) -> tuple[Path, list[str]]:
    """Write `report/` in the study's folder: `index.html`, `report.md`, tables as Parquet, pictures.

    Args:
        plan: of the study.
        folder: with its runs.
        chosen: what they came to.

    Returns:
        the HTML file, which needs nothing beside it; and what it says in short.

    Raises:
        ValueError: no run has been tested.
    """
    found, gaps = scores(plan, folder, chosen), differences(plan, folder, chosen)
    measure, monitor = study_measure(plan, folder, chosen), _monitor(plan, folder, chosen)
    out = folder.path / "report"
    out.mkdir(exist_ok=True)
    unit = plan.unit if measure.has_labels else ""
    draw_scores(found, unit, measure, out / "scores.png")
    draw_costs([score for score in found if not score.baseline], unit, out / "costs.png")
    draw_curves(plan, folder, chosen, monitor, out / "curves.png")
    draw_searches(chosen, monitor, out / "searches.png")
    parts = [
        _summary(plan, found, gaps, measure),
        *(said := [_transfer_section(plan, gaps, measure), baseline_section(plan, gaps, measure)]),
        weights_section(plan, folder, chosen),
        _score_section(found, plan.unit, measure),
        _cost_section(found, measure),
        _difference_section(gaps, measure),
        *_source_sections(plan, folder, chosen, out),
        _search_section(plan, chosen, monitor),
        _left_out(chosen),
    ]
    parts = [part if measure.has_labels else part.without("labels") for part in parts if part.sentences or part.rows]
    title = f"{plan.recipe}: a comparison of strategies"
    write_whole(out / "report.md", markdown(title, parts))
    write_whole(out / "index.html", html_page(title, parts, out))
    pd.DataFrame([score_row(score, measure) for score in found]).to_parquet(out / "scores.parquet")
    pd.DataFrame([gap_row(gap) for gap in gaps]).to_parquet(out / "differences.parquet")
    folder.keep_results(plan, baseline_tables(plan, folder, chosen))
    return out / "index.html", [*parts[0].sentences, *(sentence for part in said for sentence in part.sentences)]


def _monitor(plan: StudyPlan, folder: StudyFolder, chosen: Chosen) -> str:
    """By which validation metric rates and checkpoints were chosen, in words."""
    outcomes = [folder.outcome(cell) for cell in chosen.cells(plan)]
    names = {outcome.monitor for outcome in outcomes if outcome is not None}
    return "monitored metric" if len(names) != 1 else "validation loss" if names == {LOSS} else names.pop()


# ---------------------------------------------------------------- what is said


def _source_sections(plan: StudyPlan, folder: StudyFolder, chosen: Chosen, out: Path) -> list[Section]:
    source = Source.noted(folder)
    if source is None:
        return []
    return source_sections(plan, source, source_left(plan, folder, chosen.rates, source), out)


def _summary(plan: StudyPlan, found: Sequence[Score], gaps: Sequence[Difference], measure: Measure) -> Section:
    seeds = "1 seed" if plan.draws == 1 else f"{plan.draws} seeds"
    draws = f"{plan.draws} draws of the labels" if measure.has_labels else seeds
    arms = "1 strategy" if len(plan.arms) == 1 else f"{len(plan.arms)} strategies"
    sentences = [
        f"{arms}, {draws} each, budget {plan.budget.text}. Every "
        "searched rate was chosen on validation; test data were read once, at the end."
    ]
    if plan.draws == 1:
        sentences.append("With one draw the intervals know nothing of how far another draw would have come out.")
    for size in dict.fromkeys(score.labels for score in found):
        here = [score for score in found if score.labels == size]
        best = max(here, key=lambda score: measure.sign() * score.quality.mean)
        ahead: list[tuple[str, Difference]] = []
        open_: list[tuple[str, Difference]] = []
        for gap in gaps:
            if gap.labels == size and best.arm in (gap.first, gap.second):
                other = gap.second if gap.first == best.arm else gap.first
                (open_ if gap.verdict == "undecided" else ahead).append((other, gap))
        where = f"With {labels_text(size)} {plan.unit} " if measure.has_labels else ""
        how = "has the lowest error" if measure.lower_is_better else "scores highest"
        text = f"{where}{best.arm} {how}, {best.quality.mean:{measure.form}}."
        if ahead:
            text += f" It is ahead of {_listed(name for name, _ in ahead)}."
        if open_:
            samples = f" by {open_[0][1].samples:,} {measure.noun}" if any(gap.would_settle for _, gap in open_) else ""
            text += f" Not established{samples} against {_listed(_settled(name, gap) for name, gap in open_)}."
        sentences.append(text)
    return Section("In short", sentences)


def _settled(name: str, gap: Difference) -> str:
    if needed := gap.would_settle:
        return f"{name} ({needed:,} would settle it)"
    return f"{name} (more draws first: they differ too much)" if gap.is_seen else name


def _listed(names: object) -> str:
    return ", ".join(str(name) for name in names)  # type: ignore[attr-defined]


def _transfer_section(plan: StudyPlan, gaps: Sequence[Difference], measure: Measure) -> Section:
    rows, sentences = [], []
    words = {"ahead": "helps", "behind": "hurts", "undecided": "undecided"}
    compared = transfer(plan, gaps)
    for pair in dict.fromkeys((gap.first, gap.second) for gap in compared):
        own = [gap for gap in compared if (gap.first, gap.second) == pair]
        told = [f"{labels_text(gap.labels)}: " if measure.has_labels else "" for gap in own]
        rows.append([*pair, ", ".join(f"{at}{words[gap.verdict]}" for at, gap in zip(told, own, strict=True))])
        hurt = [gap for gap in own if gap.verdict == "behind"]
        if hurt:
            sizes = (
                f" with {_listed(labels_text(gap.labels) for gap in hurt)} {plan.unit}" if measure.has_labels else ""
            )
            sentences.append(f"Negative transfer: {pair[0]} is behind {pair[1]}{sizes}.")
        helped = [gap for gap in own if gap.verdict == "ahead"]
        if helped and helped[-1] is not own[-1]:
            sentences.append(
                f"{pair[0]} helps against {pair[1]} up to {labels_text(helped[-1].labels)} {plan.unit}; beyond, "
                "it is not established."
            )
    if compared and not sentences:
        sentences.append("No negative transfer is established.")
    verdict = f"{plan.unit}: verdict" if measure.has_labels else "verdict"
    return Section("Did transfer help?", sentences, ["pretrained", "against", verdict], rows)


def _score_section(found: Sequence[Score], unit: str, measure: Measure) -> Section:
    sizes = list(dict.fromkeys(score.labels for score in found))
    rows = []
    for name in dict.fromkeys(score.arm for score in found):
        cells = {score.labels: score for score in found if score.arm == name}
        rows.append([name, *(_interval(cells[size].quality, measure.form) if size in cells else "" for size in sizes)])
    how = found[0].quality
    drawn = "blocks" if measure.has_labels or "blocks" in how.method else measure.noun
    sentences = [f"{measure.text}; brackets are 95% intervals ({how.method}, {how.blocks:,} {drawn})."]
    if any(score.baseline for score in found):
        sentences.append("Simple baselines stand behind the strategies: each run's own test computes them.")
    heads = [f"{labels_text(size)} labels" for size in sizes] if measure.has_labels else [measure.column]
    return Section("Scores", sentences, ["strategy", *heads], rows, "scores.png")


def _cost_section(found: Sequence[Score], measure: Measure) -> Section:
    head = ["labels", "strategy", "score", "trained parameters", "training", "peak memory", "checkpoint", "front"]
    rows = [
        [
            labels_text(score.labels),
            score.arm,
            f"{score.quality.mean:{measure.form}}",
            f"{score.trainable:,}",
            duration_text(score.seconds),
            memory_text(score.peak_bytes) if score.peak_bytes else "",
            memory_text(score.checkpoint_bytes) if score.checkpoint_bytes else "",
            "yes" if score.on_front else "",
        ]
        for score in found
        if not score.baseline
    ]
    where = " at this number of labels" if measure.has_labels else ""
    sentences = [f"On the front is what no other arm{where} beats in score and every cost together."]
    return Section("Costs", sentences, head, rows, "costs.png")


def _difference_section(gaps: Sequence[Difference], measure: Measure) -> Section:
    head = ["labels", "first", "second", "difference", "all together", "verdict"]
    rows = [
        [
            labels_text(gap.labels),
            gap.first,
            gap.second,
            _interval(gap.interval, f"+{measure.form}"),
            f"[{gap.corrected.low:+{measure.form}}, {gap.corrected.high:+{measure.form}}]",
            gap.verdict,
        ]
        for gap in gaps
    ]
    sentences = [
        f"On the same draws and {measure.noun}. The second bracket holds for all {len(gaps)} comparisons together "
        "(Bonferroni), and the verdict goes by it."
    ]
    if measure.lower_is_better:
        sentences.append("A difference is how much lower the first one's error is: above 0 the first is better.")
    return Section("Paired differences", sentences if gaps else [], head, rows, "curves.png" if gaps else None)


def _search_section(plan: StudyPlan, chosen: Chosen, monitor: str) -> Section:
    rows = [
        [
            labels_text(size),
            arm,
            f"{chosen.rates[arm, size]:g}" if chosen.rates.get((arm, size)) else "",
            _tried(losses),
        ]
        for (arm, size), losses in chosen.searches.items()
    ]
    far = "and went on past an end of the grid where the best lay there"
    tried = f"Each arm tried at least {plan.search} rates, {far}."
    sentences = [tried if plan.search > 1 else "Nothing was searched: each had one rate."]
    return Section(
        "The search",
        sentences if rows else [],
        ["labels", "strategy", "chosen", f"rate: {monitor}"],
        rows,
        "searches.png",
    )


def _tried(losses: dict[float, float]) -> str:
    return ", ".join(f"{rate:g}: {loss:.3f}" for rate, loss in losses.items())


def _left_out(chosen: Chosen) -> Section:
    rows = [[arm, "all", why] for arm, why in chosen.unfit.items()]
    rows += [[arm, labels_text(size), why] for (arm, size), why in chosen.failed.items()]
    return Section("Without a result", [], ["strategy", "labels", "why"], rows)


def _interval(interval: BootstrapInterval, form: str = ".3f") -> str:
    return f"{interval.mean:{form}} [{interval.low:{form}}, {interval.high:{form}}]"

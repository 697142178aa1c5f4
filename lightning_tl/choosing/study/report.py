"""The report of a study: sentences, tables and pictures, as HTML that opens from disk, Markdown and Parquet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from lightning_tl.choosing.study.compare import Chosen
from lightning_tl.choosing.study.plan import StudyPlan, labels_text
from lightning_tl.choosing.study.report_pictures import draw_costs, draw_curves, draw_scores, draw_searches
from lightning_tl.choosing.study.report_text import Section, html_page, markdown
from lightning_tl.choosing.study.scores import Difference, Score, differences, scores, transfer
from lightning_tl.choosing.study.source import Source
from lightning_tl.choosing.study.source_left import source_left
from lightning_tl.choosing.study.source_report import source_sections
from lightning_tl.choosing.study.study_folder import StudyFolder
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
    out = folder.path / "report"
    out.mkdir(exist_ok=True)
    draw_scores(found, plan.unit, out / "scores.png")
    draw_costs(found, plan.unit, out / "costs.png")
    draw_curves(plan, folder, chosen, out / "curves.png")
    draw_searches(chosen, out / "searches.png")
    parts = [
        _summary(plan, found, gaps),
        _transfer_section(plan, gaps),
        _score_section(plan, found),
        _cost_section(found),
        _difference_section(gaps),
        *_source_sections(plan, folder, chosen, out),
        _search_section(plan, chosen),
        _left_out(chosen),
    ]
    parts = [part for part in parts if part.sentences or part.rows]
    title = f"{plan.recipe}: a comparison of strategies"
    write_whole(out / "report.md", markdown(title, parts))
    write_whole(out / "index.html", html_page(title, parts, out))
    pd.DataFrame([_score_row(score) for score in found]).to_parquet(out / "scores.parquet")
    pd.DataFrame([_gap_row(gap) for gap in gaps]).to_parquet(out / "differences.parquet")
    folder.keep_results(plan)
    return out / "index.html", [*parts[0].sentences, *_transfer_section(plan, gaps).sentences]


# ---------------------------------------------------------------- what is said


def _source_sections(plan: StudyPlan, folder: StudyFolder, chosen: Chosen, out: Path) -> list[Section]:
    source = Source.noted(folder)
    if source is None:
        return []
    return source_sections(plan, source, source_left(plan, folder, chosen.rates, source), out)


def _summary(plan: StudyPlan, found: Sequence[Score], gaps: Sequence[Difference]) -> Section:
    sentences = [
        f"{len(plan.arms)} strategies, {plan.draws} draws of the labels each, budget {plan.budget.text}. Every "
        "searched rate was chosen on validation; test data were read once, at the end."
    ]
    if plan.draws == 1:
        sentences.append("With one draw the intervals know nothing of how far another draw would have come out.")
    for size in dict.fromkeys(score.labels for score in found):
        here = [score for score in found if score.labels == size]
        best = max(here, key=lambda score: score.accuracy.mean)
        ahead: list[tuple[str, Difference]] = []
        open_: list[tuple[str, Difference]] = []
        for gap in gaps:
            if gap.labels == size and best.arm in (gap.first, gap.second):
                other = gap.second if gap.first == best.arm else gap.first
                (open_ if gap.verdict == "undecided" else ahead).append((other, gap))
        text = f"With {labels_text(size)} {plan.unit} {best.arm} scores highest, {best.accuracy.mean:.3f}."
        if ahead:
            text += f" It is ahead of {_listed(name for name, _ in ahead)}."
        if open_:
            samples = f" by {open_[0][1].samples:,} test samples" if any(gap.would_settle for _, gap in open_) else ""
            text += f" Not established{samples} against {_listed(_settled(name, gap) for name, gap in open_)}."
        sentences.append(text)
    return Section("In short", sentences)


def _settled(name: str, gap: Difference) -> str:
    if needed := gap.would_settle:
        return f"{name} ({needed:,} would settle it)"
    return f"{name} (more draws first: they differ too much)" if abs(gap.interval.mean) >= 1e-4 else name


def _listed(names: object) -> str:
    return ", ".join(str(name) for name in names)  # type: ignore[attr-defined]


def _transfer_section(plan: StudyPlan, gaps: Sequence[Difference]) -> Section:
    rows, sentences = [], []
    words = {"ahead": "helps", "behind": "hurts", "undecided": "undecided"}
    compared = transfer(plan, gaps)
    for pair in dict.fromkeys((gap.first, gap.second) for gap in compared):
        own = [gap for gap in compared if (gap.first, gap.second) == pair]
        rows.append([*pair, ", ".join(f"{labels_text(gap.labels)}: {words[gap.verdict]}" for gap in own)])
        hurt = [gap for gap in own if gap.verdict == "behind"]
        if hurt:
            sizes = _listed(labels_text(gap.labels) for gap in hurt)
            sentences.append(f"Negative transfer: {pair[0]} is behind {pair[1]} with {sizes} {plan.unit}.")
        helped = [gap for gap in own if gap.verdict == "ahead"]
        if helped and helped[-1] is not own[-1]:
            sentences.append(
                f"{pair[0]} helps against {pair[1]} up to {labels_text(helped[-1].labels)} {plan.unit}; beyond, "
                "it is not established."
            )
    if compared and not sentences:
        sentences.append("No negative transfer is established.")
    return Section("Did transfer help?", sentences, ["pretrained", "against", f"{plan.unit}: verdict"], rows)


def _score_section(plan: StudyPlan, found: Sequence[Score]) -> Section:
    sizes = list(dict.fromkeys(score.labels for score in found))
    rows = []
    for arm in plan.arms:
        cells = {score.labels: score for score in found if score.arm == arm.name}
        if cells:
            rows.append([arm.name, *(_interval(cells[size].accuracy) if size in cells else "" for size in sizes)])
    how = found[0].accuracy
    sentences = [f"Share of right test samples; brackets are 95% intervals ({how.method}, {how.blocks:,} blocks)."]
    return Section(
        "Scores", sentences, ["strategy", *(f"{labels_text(size)} labels" for size in sizes)], rows, "scores.png"
    )


def _cost_section(found: Sequence[Score]) -> Section:
    head = ["labels", "strategy", "score", "trained parameters", "training", "peak memory", "checkpoint", "front"]
    rows = [
        [
            labels_text(score.labels),
            score.arm,
            f"{score.accuracy.mean:.3f}",
            f"{score.trainable:,}",
            duration_text(score.seconds),
            memory_text(score.peak_bytes) if score.peak_bytes else "",
            memory_text(score.checkpoint_bytes) if score.checkpoint_bytes else "",
            "yes" if score.on_front else "",
        ]
        for score in found
    ]
    sentences = ["On the front is what no other arm at this number of labels beats in score and every cost together."]
    return Section("Costs", sentences, head, rows, "costs.png")


def _difference_section(gaps: Sequence[Difference]) -> Section:
    head = ["labels", "first", "second", "difference", "all together", "verdict"]
    rows = [
        [
            labels_text(gap.labels),
            gap.first,
            gap.second,
            _interval(gap.interval, "+.3f"),
            f"[{gap.corrected.low:+.3f}, {gap.corrected.high:+.3f}]",
            gap.verdict,
        ]
        for gap in gaps
    ]
    sentences = [
        f"On the same draws and test samples. The second bracket holds for all {len(gaps)} comparisons together "
        "(Bonferroni), and the verdict goes by it."
    ]
    return Section("Paired differences", sentences if gaps else [], head, rows, "curves.png" if gaps else None)


def _search_section(plan: StudyPlan, chosen: Chosen) -> Section:
    rows = [
        [
            labels_text(size),
            arm,
            f"{chosen.rates[arm, size]:g}" if chosen.rates.get((arm, size)) else "",
            _tried(losses),
        ]
        for (arm, size), losses in chosen.searches.items()
    ]
    sentences = [
        f"Each arm tried at least {plan.search} rates, and went on past an end of the grid where the best lay there."
    ]
    return Section(
        "The search",
        sentences if rows else [],
        ["labels", "strategy", "chosen", "rate: validation loss"],
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


def _score_row(score: Score) -> dict[str, object]:
    return {
        "arm": score.arm,
        "labels": labels_text(score.labels),
        "rate": score.rate,
        "accuracy": score.accuracy.mean,
        "low": score.accuracy.low,
        "high": score.accuracy.high,
        "spread": score.spread,
        "trainable": score.trainable,
        "seconds": score.seconds,
        "peak_bytes": score.peak_bytes,
        "checkpoint_bytes": score.checkpoint_bytes,
        "on_front": score.on_front,
    }


def _gap_row(gap: Difference) -> dict[str, object]:
    return {
        "first": gap.first,
        "second": gap.second,
        "labels": labels_text(gap.labels),
        "difference": gap.interval.mean,
        "low": gap.interval.low,
        "high": gap.interval.high,
        "corrected_low": gap.corrected.low,
        "corrected_high": gap.corrected.high,
        "verdict": gap.verdict,
        "would_settle": gap.would_settle,
    }

"""The test of a retrieval model as lines of text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SHOWN = ("HR@1", "HR@10", "HR@100", "MRR", "NDCG@10")
COMPARED = ("HR@10", "HR@100", "MRR")
_LEAST = 16  # characters of the first column


def retrieval_sections(test: Mapping[str, Any]) -> list[list[str]]:
    """The sections of the summary that tell what was found.

    Args:
        test: as `RetrievalReport` puts it into the summary: `model` (its name), `models` (metrics by name), and, where
            there are any, `differences`, `slices` and `oracle`.
    """
    name, models = test["model"], test["models"]
    mine, width = models[name], max(_LEAST, *(len(model) + 2 for model in models))
    lines = [
        f"Test on {mine['queries']:,} queries of {mine['users']:,} users; all {mine['items']:,} items ranked, "
        "those of the history left out",
        *([] if test["split"] == "temporal" else ["leave-last-out leaks: training saw what happened later"]),
        "",
        f"  {'':{width}}{''.join(f'{metric:>9}' for metric in SHOWN)}   median",
    ]
    for model, found in models.items():
        values = "".join(f"{found['per_query'][metric]['value']:9.3f}" for metric in SHOWN)
        lines.append(f"  {model:{width}}{values}{found['per_query']['median_rank']['value']:9,.0f}")
    sections = [lines, _intervals(mine)]
    if test.get("differences"):
        # With 100 items or fewer everybody's HR@100 is 1.
        verdict = "HR@100" if mine["items"] > 100 else "MRR"
        sections.append(_differences(name, test["differences"], width, verdict))
    if oracle := test.get("oracle"):
        share = mine["per_query"]["HR@100"]["value"] / max(oracle["per_query"]["HR@100"]["value"], 1e-12)
        value = oracle["per_query"]["HR@100"]["value"]
        sections.append([f"  {share:.0%} of the HR@100 of the oracle, which knows the true preferences ({value:.3f})"])
    if gaps := _gaps(test.get("slices") or {}):
        sections.append(gaps)
    return sections


def _intervals(found: Mapping[str, Any]) -> list[str]:
    lines = [f"  {found['level']:.0%} intervals over users   per query              mean over users"]
    for metric in COMPARED:
        cells = "  ".join(f"{_cell(found[kind][metric]):22}" for kind in ("per_query", "per_user"))
        lines.append(f"  {metric:23}  {cells}".rstrip())
    if found.get("coverage@100") is not None:
        lines.append(f"  {'coverage':23}  {found['coverage@100']:.1%} of the items are in someone's first 100")
    return lines


def _cell(value: Mapping[str, Any]) -> str:
    ends = "" if value["low"] is None else f" [{value['low']:.3f}, {value['high']:.3f}]"
    return f"{value['value']:.3f}{ends}"


def _differences(name: str, differences: Mapping[str, Any], width: int, verdict: str) -> list[str]:
    lines = [f"  {name} minus".ljust(width + 2) + "".join(f"{metric:<25}" for metric in COMPARED).rstrip()]
    for other, found in differences.items():
        cells = [_signed(found[metric]) for metric in COMPARED]
        lines.append(f"  {other:{width}}{''.join(f'{cell:<25}' for cell in cells)}".rstrip())
    behind, open_ = [], []
    for other, found in differences.items():
        low, high = found[verdict]["low"], found[verdict]["high"]
        if high is not None and high < 0:
            behind.append(other)
        elif low is None or low <= 0:
            open_.append(other)
    if behind:
        lines.append(f"  {name} is BEHIND {', '.join(behind)} by {verdict}: use that instead, or train on")
    if open_:
        lines.append(f"  {name} is not shown to beat {', '.join(open_)} by {verdict}: the interval includes 0")
    return lines


def _signed(value: Mapping[str, Any]) -> str:
    ends = "" if value["low"] is None else f" [{value['low']:+.3f}, {value['high']:+.3f}]"
    return f"{value['value']:+.3f}{ends}"


def _gaps(slices: Mapping[str, Any]) -> list[str]:
    lines = []
    for grouping, found in slices.items():
        gap = found["largest_gap"]
        if gap is None:
            continue
        overlap = {True: "intervals overlap", False: "intervals are apart", None: "no intervals"}
        values = [f"{gap[side]} {found['slices'][gap[side]]['HR@100']['value']:.3f}" for side in ("higher", "lower")]
        lines.append(f"    {grouping[:18]:<18} {' against '.join(values)} ({overlap[gap['intervals_overlap']]})")
    return ["  largest gaps of HR@100 between groups of queries", *lines] if lines else []

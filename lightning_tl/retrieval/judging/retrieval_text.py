"""The test of a retrieval model as lines of text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lightning_tl.reports.display_text import before_more, one_line, padded, short_name, short_names

METRICS = ("HR@1", "HR@5", "HR@10", "HR@50", "HR@100", "MRR", "NDCG@10", "median_rank", "coverage@100")
COMPARED = ("HR@10", "HR@100", "MRR")
_LEAST, _COLUMN = 16, 10  # characters of the first column, and of the others
_GROUPING, _GROUP = 18, 40  # cells of what queries were grouped by, and of a group's name
_MUCH = 0.1  # of the queries, which one user or item should not have
_LEFT_OUT = {
    "taken": "those of the history left out",
    "seen": "those of the history left out, and those seen and not taken",
    "none": "those of the history too",
}
_HEADS = {"median_rank": "median", "coverage@100": "coverage"}


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
        f"{_LEFT_OUT[test.get('exclude', 'taken')]}",
        *([] if test["split"] == "temporal" else ["leave-last-out leaks: training saw what happened later"]),
        "HR@k: share of queries whose item is among the first k, which is Recall@k, as each has one item; median: of",
        "the rank; coverage: share of the items that are among anybody's (below: a user's) first 100",
    ]
    if idle := [metric for metric in METRICS if _is_always_1(metric, mine["items"])]:
        lines.append(f"{' and '.join(idle)} are left out: with {mine['items']:,} items nobody can miss")
    if mine["users"] < 2:
        lines.append("there are no intervals: they are taken over users, and there is one")
    lines += _window(test.get("window"))
    sections = [
        lines,
        _table("mean over queries", "per_query", models, width),
        _table("mean over users", "per_user", models, width),
    ]
    if test.get("differences"):
        sections.append(_differences(name, test["differences"], width, mine["items"]))
    if oracle := test.get("oracle"):
        share = mine["per_query"]["HR@100"]["value"] / max(oracle["per_query"]["HR@100"]["value"], 1e-12)
        value = oracle["per_query"]["HR@100"]["value"]
        sections.append([f"  {share:.0%} of the HR@100 of the oracle, which knows the true preferences ({value:.3f})"])
    if missing := test.get("left_out"):
        sections.append([f"  {name} is missing: {why}" for name, why in missing.items()])
    sections.append(_gaps(test.get("slices") or {}))
    return sections


def _window(facts: Mapping[str, Any] | None) -> list[str]:
    """What the test rests on, where that is peculiar."""
    if not facts:
        return []
    total, new, lines = facts["queries"], facts["new_targets"], []
    if new:
        lines.append(f"{new:,} queries ({new / total:.1%}) ask for items without any event in its training window")
    for name, what in (("largest_user", "are of the user"), ("largest_item", "ask for the item")):
        one = facts[name]
        if one["queries"] >= max(2, _MUCH * total):
            lines.append(f"{one['queries']:,} queries ({one['queries'] / total:.0%}) {what} {one_line(str(one['id']))}")
    return lines


def _is_always_1(metric: str, items: int) -> bool:
    kind, _, k = metric.partition("@")
    return kind == "HR" and int(k) >= items


def _table(title: str, kind: str, models: Mapping[str, Any], width: int) -> list[str]:
    """A line of values for each model, and one of 95% intervals below it."""
    first = next(iter(models.values()))
    names = [name for name in METRICS if name in first[kind] and not _is_always_1(name, first["items"])]
    rows = [[title, *(_HEADS.get(name, name) for name in names)]]
    for model, found in models.items():
        rows.append([model, *(_number(name, found[kind][name]["value"]) for name in names)])
        if found[kind][names[0]]["low"] is not None:
            level = f"  {found['level']:.0%} interval" if found is first else ""
            rows.append([level, *(_interval(name, found[kind][name]) for name in names)])
    widths = [max(_COLUMN, *(len(row[column + 1]) + 1 for row in rows)) for column in range(len(names))]
    return [f"  {row[0]:{width}}" + "".join(map(str.rjust, row[1:], widths)) for row in rows]


def _number(name: str, value: float) -> str:
    return f"{value:,.1f}".removesuffix(".0") if name == "median_rank" else f"{value:.3f}"


def _interval(name: str, found: Mapping[str, Any]) -> str:
    """Without what is 0 before the point: .181-.223."""
    ends = (_number(name, found[end]) for end in ("low", "high"))
    return "-".join(end.removeprefix("0") if name != "median_rank" else end for end in ends)


def _differences(name: str, differences: Mapping[str, Any], width: int, items: int) -> list[str]:
    compared = [metric for metric in COMPARED if not _is_always_1(metric, items)]
    lines = [f"  {name} minus".ljust(width + 2) + "".join(f"{metric:<25}" for metric in compared).rstrip()]
    for other, found in differences.items():
        cells = [_signed(found[metric]) for metric in compared]
        lines.append(f"  {other:{width}}{''.join(f'{cell:<25}' for cell in cells)}".rstrip())
    for other, found in differences.items():
        ends = {metric: (found[metric]["low"], found[metric]["high"]) for metric in compared}
        behind = [metric for metric, (_, high) in ends.items() if high is not None and high < 0]
        unclear = [metric for metric, (low, high) in ends.items() if low is not None and low <= 0 <= high]
        if behind:
            lines.append(f"  {name} is BEHIND {other} by {_listed(behind)}")
        if unclear:
            lines.append(f"  {name} is not shown to beat {other} by {_listed(unclear)}: the interval includes 0")
    if any(found[metric]["low"] is None for found in differences.values() for metric in compared):
        lines.append(f"  {name} is not shown to beat any: without intervals nothing is")
    return lines


def _listed(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _signed(value: Mapping[str, Any]) -> str:
    ends = "" if value["low"] is None else f" [{value['low']:+.3f}, {value['high']:+.3f}]"
    return f"{value['value']:+.3f}{ends}"


def _gaps(slices: Mapping[str, Any]) -> list[str]:
    """The largest gap of each grouping, those of all groupings first by its size."""
    found = {name: report["largest_gap"] for name, report in slices.items() if report["largest_gap"] is not None}
    if not found:
        least = "no two groups of queries are large enough to be compared: see summary.json for all" if slices else ""
        return [f"  {least}"] if least else []
    metric = next(iter(found.values()))["metric"]
    lines = [f"  largest gaps of {metric} between groups of queries, the largest first"]
    overlap = {True: "intervals overlap", False: "intervals are apart", None: "no intervals"}
    short = dict(zip(found, short_names(list(found), _GROUPING), strict=True))
    for name, gap in sorted(found.items(), key=lambda pair: -pair[1]["difference"]):
        pair = ((gap[side], slices[name]["slices"][gap[side]][metric]["value"]) for side in ("higher", "lower"))
        values = [f"{before_more(short_name(group, _GROUP))} {value:.3f}" for group, value in pair]
        lines.append(
            f"    {padded(short[name], _GROUPING)} {' against '.join(values)} ({overlap[gap['intervals_overlap']]})"
        )
    return lines

"""`advise`: which strategy to try first, what it takes, and a recipe that is ready to run."""

from __future__ import annotations

import json
import tempfile
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from lightning_tl.choosing.advice import Advice, AdviceThresholds, Facts, decide, order_of
from lightning_tl.choosing.advice.cost import Cost
from lightning_tl.choosing.advice.on_study import judge, recalibrated, scores_by_labels
from lightning_tl.choosing.advice.trials import Trials
from lightning_tl.choosing.study import Arm, arm_of, compare
from lightning_tl.choosing.study.own_arm import is_log
from lightning_tl.choosing.study.processes import Command, Job, Processes
from lightning_tl.choosing.study.scores import same_network, scores
from lightning_tl.choosing.study.study_folder import StudyFolder
from lightning_tl.cli.commands.advise_options import AdviseOptions
from lightning_tl.cli.commands.compare_plan import check_recipe
from lightning_tl.cli.commands.distance_options import BESIDE
from lightning_tl.cli.errors import UserError
from lightning_tl.cli.process.preloaded import PRELOADED
from lightning_tl.reports.resources import duration_text, memory_text
from lightning_tl.reports.summary import short_path
from lightning_tl.storage.partial_file import write_whole

_MEASURED = 3_000  # samples of each side, whose distance is measured


def run_advise(wanted: AdviseOptions, command: Command) -> None:
    """Try strategies for some seconds each, decide, and write a recipe.

    Args:
        wanted: from `read_advise_options`.
        command: runs a command line; each trial is one, in a process of its own.

    Raises:
        UserError: the recipe has no strategy that could be exchanged, or a limit that no strategy keeps.
        ValueError: no strategy fits the budget.
    """
    limits = AdviceThresholds.read(wanted.thresholds) if wanted.thresholds else AdviceThresholds.shipped()
    processes = Processes(command, (), PRELOADED)
    if wanted.studies:
        _on_studies([StudyFolder(path) for path in wanted.studies], processes, limits, wanted.write)
        return
    assert wanted.recipe is not None
    base = yaml.safe_load(wanted.recipe.read_text(encoding="utf-8"))
    check_recipe("advise", base, wanted.name)
    if is_log(base["model"]):
        raise UserError(f"advise is for strategies of classification; {wanted.name} learns from an event log")
    with tempfile.TemporaryDirectory(prefix="advise-", ignore_cleanup_errors=True) as folder:
        trials = Trials(Path(folder), processes, wanted.fields, _say)
        simplest = _arm("fine_tune" if wanted.pretrained else "from_scratch", base)  # a step of it costs little
        labels = trials.count_labels(simplest)
        _check_limits(wanted, trials)
        source = wanted.source or (BESIDE if trials.knows_its_source and wanted.pretrained else None)
        facts = Facts(labels, _distance(wanted, source, trials) if source else None, wanted.pretrained)
        costs, unfit = _costs(facts, limits, base, trials)
        advice = decide(facts, limits, costs, wanted.budget_s, unfit)
        recipe = _ready(_arm(advice.strategy, base), wanted, trials)
        write_whole(wanted.output, recipe)
    _tell(advice, wanted)


def _costs(
    facts: Facts, limits: AdviceThresholds, base: dict[str, Any], trials: Trials
) -> tuple[dict[str, Cost], dict[str, str]]:
    costs: dict[str, Cost] = {}
    unfit: dict[str, str] = {}
    for strategy in order_of(facts, limits)[0]:
        try:
            costs[strategy] = trials.cost(_arm(strategy, base))
        except ValueError as error:
            unfit[strategy] = str(error)
            _say(f"{strategy} does not fit: {error}")
    return costs, unfit


def _arm(strategy: str, base: dict[str, Any]) -> Arm:
    """The arm of a strategy; the recipe itself where it has this strategy, with its own rates."""
    arm = arm_of(strategy, base)
    model = base["model"] if isinstance(base["model"], dict) else {"class_path": base["model"]}
    same = model.get("class_path") == arm.recipe["model"]["class_path"]
    if same and bool(base.get("unfreezing")) == bool(arm.recipe.get("unfreezing")) and "backbone" in model["init_args"]:
        return Arm(strategy, base, arm.search, arm.pretrained)
    return arm


def _check_limits(wanted: AdviseOptions, trials: Trials) -> None:
    """Limits that the backbone itself does not keep are kept by no strategy.

    Raises:
        UserError: it is too large or too slow.
    """
    better = f"rank smaller ones: lightning-tl backbones --recipe {wanted.name} --candidates A B"
    size_mib = trials.parameters * 4 / 2**20
    if wanted.max_size_mib is not None and size_mib > wanted.max_size_mib:
        raise UserError(
            f"the backbone has {trials.parameters:,} parameters, {size_mib:.1f} MiB, more than the "
            f"{wanted.max_size_mib:g} MiB allowed, and no strategy makes it smaller; {better}"
        )
    if wanted.max_latency_ms is not None:
        found_ms = trials.latency_ms
        if found_ms > wanted.max_latency_ms:
            raise UserError(
                f"the backbone takes {found_ms:.1f} ms for one sample here, more than the {wanted.max_latency_ms:g} "
                f"allowed, and no strategy makes it quicker; {better}"
            )


def _distance(wanted: AdviseOptions, source: str, trials: Trials) -> str:
    found = trials.folder / "distance.json"
    arguments = ["distance", "--recipe", str(wanted.recipe), "--source", source, *wanted.fields]
    kept = ["--features", str(trials.folder / "features"), "--most", str(_MEASURED)]
    job = Job([*arguments, *kept, "--output", str(found)], trials.folder / "logs" / "distance.txt")
    for _, error in trials.processes.run([job]):
        if error is not None:
            raise UserError(f"the distance to {source} was not measured: {error}")
    measured = json.loads(found.read_text(encoding="utf-8"))
    proxy = measured["proxy_a"]
    _say(f"distance: {measured['verdict']}, a classifier tells the two apart with accuracy {proxy['accuracy']:.3f}")
    return str(measured["verdict"])


def _ready(arm: Arm, wanted: AdviseOptions, trials: Trials) -> str:
    """The whole recipe, with the fields of the command line, as `--print_config` gives it."""
    recipe = trials.folder / "recipes" / f"{arm.name}.yaml"
    log = trials.folder / "logs" / "recipe.yaml"
    job = Job(["fit", "--recipe", str(recipe), *wanted.fields, "--print_config"], log)
    for _, error in trials.processes.run([job]):
        if error is not None:
            raise UserError(f"the recipe of {arm.name} was not written: {error}")
    return f"# {arm.name} for the data of {wanted.name}, as advised.\n{log.read_text(encoding='utf-8')}"


def _tell(advice: Advice, wanted: AdviseOptions) -> None:
    print(f"\nadvice: {advice.strategy}\n")
    for reason in advice.reasons:
        print(textwrap.fill(reason, 100, initial_indent="- ", subsequent_indent="  "))
    print("\n  strategy        predicted time   peak memory")
    for name, cost in advice.costs.items():
        print(f"  {name:<14}  {duration_text(cost.seconds):>14}   {memory_text(cost.peak_bytes):>11}")
    path = short_path(wanted.output)
    print(f"\nrecipe: {path}\nnext: lightning-tl --recipe {path}")
    fields = " ".join(["", *wanted.fields])
    print(f"to see whether it is right: lightning-tl compare --recipe {wanted.name}{fields} --strategies "
          f"{' '.join(advice.costs)} from_scratch")  # fmt: skip


def _on_studies(
    folders: Sequence[StudyFolder], processes: Processes, limits: AdviceThresholds, write: Path | None
) -> None:
    tables = []
    for folder in folders:
        plan = folder.plan()
        chosen = compare(plan, folder, processes, _say, report_only=True)
        table = scores_by_labels(plan, folder, chosen, scores(plan, folder, chosen))
        first = next((arm for arm in plan.arms if not arm.baseline), plan.arms[0])
        others = {arm.name: "another backbone" for arm in plan.arms if not same_network(arm, first)}
        others |= {arm.name: "the simple baseline" for arm in plan.arms if arm.baseline}
        networks = {n: {name: score for name, score in row.items() if name not in others} for n, row in table.items()}
        tables.append(networks)
        print(f"\n{folder.path.name}\n\n{'labels':>8}  {'advised':<14} {'score':>6}  {'best':<22} {'score':>6}  behind")
        for verdict in judge(networks, limits):
            print(
                f"{verdict.labels:>8,}  {verdict.advised:<14} {verdict.score:>6.3f}  {verdict.best:<22} "
                f"{verdict.best_score:>6.3f}  {verdict.regret:.3f}"
            )
            for name in sorted(others.keys() & table[verdict.labels].keys()):
                if table[verdict.labels][name] > verdict.best_score:
                    print(f"{'':>8}  ({others[name]}: {name} {table[verdict.labels][name]:.3f})")
    better = recalibrated(tables, limits, ", ".join(folder.path.name for folder in folders))
    if better == limits:
        print("\nNo other thresholds would have been better.")
    else:
        before, after = (sum(v.regret for table in tables for v in judge(table, each)) for each in (limits, better))
        print(
            f"\nBetter here: a trained head from {better.probe_from:,} labels and the backbone from "
            f"{better.fine_tune_from:,}; behind by {after:.3f} in all, in place of {before:.3f}."
        )
    if write is not None:
        better.write(write)
        print(f"thresholds: {short_path(write)}; use them with --thresholds")


def _say(line: str) -> None:
    print(line, flush=True)

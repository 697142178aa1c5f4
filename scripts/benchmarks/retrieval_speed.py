"""Training speed of `TwoTower` against sentence-transformers' `MultipleNegativesRankingLoss`, interactions a second.

    python scripts/benchmarks/retrieval_speed.py
    python scripts/benchmarks/retrieval_speed.py --condition trained --steps 10 --pairs 9
    python scripts/benchmarks/retrieval_speed.py --condition frozen --batch 16
    python scripts/benchmarks/retrieval_speed.py --accelerator gpu --precision bf16-mixed

Both sides train the same towers from the same weights on the same queries of StreamRec in the same batches, with fused
AdamW at the same rate and decay, in float32 on one core unless a GPU or another precision is asked for; the measurement
stops where a step's queries differ.
`trained`: the item tower is MiniLM on the item's text, the user tower MiniLM on the history as text, both trained, each
with a projection; a row asks one query. `frozen`: a frozen MiniLM with a projection, and `HistoryTransformer` over the
last items; a row asks all its queries. The peer has no store of features. It encodes the different texts of each
batch's targets and histories with `SentenceTransformer.encode`, and has a row of its own for every query; in a third
process it gets the features of histories for free and encodes the targets alone, the count that suits it best.

Each side has what it has by default. Ours: masked negatives, the correction of popularity, both directions, a learned
temperature, tokens made once, the catalogue encoded before the first step, a log every ten steps with the bound on
mutual information. The peer: one direction, cosines times 20, texts tokenised in each step, and a log every ten
steps. Nobody groups by length, reads ahead in workers, clips gradients, validates or writes checkpoints. A
first race without dropout, in float32, in which ours has the peer's loss, on the first query of each different item,
must begin with the same losses.

Each side is a process. After a warm-up they take turns, a block of steps each, so that other load on the machine meets
all; a pair is the same steps on two sides. What happens between two steps counts. What ours spends before the first
step has a line of its own; a trained item encoder spends it again before each validation.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from retrieval_sides import WARM_UP, Run, ours, peer

from datamodules.sets.streamrec import StreamRecSettings

TOLERANCE = 1e-4  # between losses of a first step
SIDES = {"trained": ("ours", "peer"), "frozen": ("ours", "peer", "peer, histories given")}


def race(run: Run) -> dict[str, list[dict[str, Any]]]:
    """Train on each side, in turns of a block; by side what it said before it trained, then after each block."""
    context, links = multiprocessing.get_context("spawn"), dict[str, Connection]()
    names = SIDES[run.condition]
    heard: dict[str, list[dict[str, Any]]] = {}
    try:
        for name in names:
            links[name], theirs = context.Pipe()
            more: Any = () if name == "ours" else (name != "peer",)
            target = ours if name == "ours" else peer
            context.Process(target=target, args=(theirs, run, *more), daemon=True).start()
            theirs.close()
            if name != "ours":
                links[name].send(heard["ours"][0]["features"])
            heard[name] = [links[name].recv()]
        for block in range(len(run.blocks())):
            for name in names if block % 2 else names[::-1]:
                links[name].send("go")
                heard[name].append(links[name].recv())
            if any(heard[name][-1]["hashes"] != heard["ours"][-1]["hashes"] for name in names):
                raise SystemExit(f"the sides got different queries in block {block}")
    except (EOFError, OSError):
        raise SystemExit("a side ended before its last step; see its own message above") from None
    finally:
        for worker in multiprocessing.active_children():
            worker.kill()
            worker.join()
    return heard


def first_losses(heard: dict[str, list[dict[str, Any]]]) -> str:
    """The losses of the first steps in words.

    Raises:
        SystemExit: two sides differ by more than `TOLERANCE` in a step.
    """
    losses = np.array([said[1]["losses"] for said in heard.values()])  # [sides, steps]
    told = "; ".join(
        f"{name} {', '.join(f'{loss:.6f}' for loss in row)}" for name, row in zip(heard, losses, strict=True)
    )
    if not (np.ptp(losses, axis=0) <= TOLERANCE).all():
        raise SystemExit(f"with the same loss and no dropout the first losses must agree within {TOLERANCE:g}: {told}")
    return f"With the same loss and no dropout, the losses of the first {losses.shape[1]} steps: {told}."


def spread(values: Any, digits: int) -> str:
    return f"{np.median(values):,.{digits}f} ({np.min(values):,.{digits}f} to {np.max(values):,.{digits}f})"


def report(run: Run, heard: dict[str, list[dict[str, Any]]]) -> str:
    """A table of all sides in Markdown, and in words what ours gains and what it spends before the first step."""
    seconds = {name: np.array([block["seconds"] for block in said[2:]]) for name, said in heard.items()}
    queries = np.array([block["queries"] for block in heard["ours"][2:]])
    rates = {name: queries / spent[:, 0] for name, spent in seconds.items()}
    lines = [
        f"**{run.condition}**: {run.pairs} blocks of {run.steps} steps after {WARM_UP} for warming up, batches of "
        f"{run.batch} rows, {queries.sum() / (run.steps * run.pairs):,.0f} interactions a step; medians and ranges",
        "",
        "| | interactions a second | ms a step |",
        "|---|---|---|",
    ]
    for name in heard:
        step = 1000 * seconds[name][:, 0] / run.steps
        lines.append(f"| {name} | {spread(rates[name], 1)} | {spread(step, 0)} |")
    said = heard["ours"][0]
    lines += [
        "",
        f"Once, before the first step, ours tokenises the catalogue of {len(said['features'][0]):,} items and ",
    ]
    lines[-1] += (
        f"builds the towers in {said['building_s']:.1f} s, and encodes the catalogue in {said['encoding_s']:.1f} s."
    )
    for name in SIDES[run.condition][1:]:
        wall, cpu = (seconds[name] / seconds["ours"]).T
        lines += ["", f"Ours trains on {spread(wall, 2)} times the interactions a second of the {name}, pair by pair; "]
        lines[-1] += f"by CPU time {spread(cpu, 2)} times. {repaid(said['encoding_s'], rates, name)}"
    return "\n".join(lines)


def repaid(cost_s: float, rates: dict[str, Any], name: str) -> str:
    """After how many interactions the encoding of the catalogue is made up for."""
    gain_s = 1 / np.median(rates[name]) - 1 / np.median(rates["ours"])  # of an interaction
    if gain_s <= 0:
        return "The time for encoding the catalogue is never made up for."
    return f"The time for encoding the catalogue is made up for after {cost_s / gain_s:,.0f} interactions."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    usual = Run("frozen")
    parser.add_argument("--condition", choices=(*SIDES, "both"), default="both")
    parser.add_argument("--steps", type=int, default=usual.steps, help="of a block")
    parser.add_argument("--pairs", type=int, default=usual.pairs, help="blocks of each side after the warm-up")
    parser.add_argument("--batch", type=int, default=usual.batch, help="rows of history in a batch")
    parser.add_argument("--encoder", help="folder; default MiniLM")
    parser.add_argument("--tokens", type=int, default=usual.tokens, help="most tokens of a history as text")
    parser.add_argument("--users", type=int, default=usual.world.users, help="of StreamRec")
    parser.add_argument("--items", type=int, default=usual.world.items, help="of StreamRec")
    parser.add_argument("--accelerator", choices=("cpu", "gpu"), default=usual.accelerator)
    parser.add_argument("--precision", choices=("32-true", "bf16-mixed"), default=usual.precision)
    parser.add_argument("--cache", type=Path, help="folder of prepared data")
    given = parser.parse_args()
    for name in ("steps", "pairs", "batch"):
        if getattr(given, name) < 1:
            parser.error(f"--{name} must be at least 1, got {getattr(given, name)}")
    os.environ |= {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"} | os.environ
    os.environ |= {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1", "TQDM_DISABLE": "1"}
    world = StreamRecSettings(users=given.users, items=given.items)
    for condition in SIDES if given.condition == "both" else (given.condition,):
        run = Run(condition, given.steps, given.pairs, given.batch, given.encoder, given.tokens, world, given.cache)
        run = run._replace(accelerator=given.accelerator, precision=given.precision)
        print(first_losses(race(run._replace(pairs=0, alike=True, precision="32-true"))), flush=True)
        print(f"\n{report(run, race(run))}\n", flush=True)


if __name__ == "__main__":
    main()

"""A peer for the two towers on MovieLens-100K that is none of ours: GPT-2's decoder over item numbers, full softmax.

    python scripts/benchmarks/sequence_peer.py choose --root ml-100k            # settings, on the validation window
    python scripts/benchmarks/sequence_peer.py test --root ml-100k --seeds 3    # the chosen ones, on the test window
    python scripts/benchmarks/sequence_peer.py versus --run RUN_FOLDER        # a run of movielens_two_tower

The peer is transformers' `GPT2LMHeadModel` with items for words, as SASRec (Kang & McAuley 2018, arXiv 1808.09781):
each item of a row is foretold from those before it, behind a start token. Its loss is the cross-entropy over all items,
whose embeddings are the output's, too; AdamW, and a rate that rises and falls as the recipe's. It reads neither texts
nor profiles. It is trained on the two towers' rows, and ranked by the same function, from the same histories.

Events of one second have no order, and a query is foretold from what lies strictly before its second. In training the
peer reads the same (`--reads before`), or all that stands before the target in its row (`next`), whichever is better.

`choose` tries one setting after the other, each value of it with the best of all others so far, and goes round until
nothing changes; best is the highest HR@100 in the validation window (`--metric`), after training on the window before.
`test` trains with them on both windows, as the recipe does. Finished runs are kept in a JSON Lines file.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
import yaml
from kept_ranks import METRICS, RECIPE, asked, cell, difference, digest, ranks_row, recipe_data, score
from kept_runs import kept_run, read_runs
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from datamodules import MovieLensDataModule
from datamodules.events.history_samples import QueryRows, TrainingRows, cut_pieces
from lightning_tl.contracts.batches import RetrievalBatch
from lightning_tl.contracts.interactions import NO_ITEM, Queries
from lightning_tl.retrieval.judging.rank_gains import rank_gains
from lightning_tl.retrieval.ranking.ranking import EmbeddingScorer, ranks

RESULTS = Path(__file__).resolve().parent / "sequence_peer.jsonl"
GRID: dict[str, Sequence[Any]] = {
    "rate": (1e-3, 3e-4, 3e-3),
    "epochs": (32, 16, 64),
    "dropout": (0.2, 0.1, 0.5),
    "width": (64, 32, 128),
    "reads": ("before", "next"),
}
FIXED = {"layers": 2, "heads": 2, "batch": 32, "weight_decay": 0.01, "warmup": 0.1}  # the last a share of all steps
Setting = dict[str, Any]  # one value of each name of `GRID`


class Peer:
    """The model, and what is done with it.

    Args:
        items: size of the catalogue; the start token is the number after the last item's.
        length: the most items of a history.
        setting: see `GRID`.
    """

    def __init__(self, items: int, length: int, setting: Setting) -> None:
        more: Any = {f"{place}_pdrop": setting["dropout"] for place in ("resid", "embd", "attn")}
        more |= {"n_embd": setting["width"], "n_layer": FIXED["layers"], "n_head": FIXED["heads"]}
        more |= {"bos_token_id": items, "eos_token_id": items, "use_cache": False}
        self.items, self.device = items, torch.device("cuda" if torch.cuda.is_available() else "cpu")
        config = transformers.GPT2Config(vocab_size=items + 1, n_positions=length + 1, **more)
        model: Any = transformers.GPT2LMHeadModel(config)
        self.model = model.to(self.device)

    def states(self, history: Tensor, row: Tensor, position: Tensor) -> Tensor:
        """What the output layer reads: [queries, width].

        Args:
            history: [rows, length] int64 numbers of items, oldest first, `NO_ITEM` after the end.
            row: [queries] int64, the row of each query.
            position: [queries] int64, how many of its row's items a query reads; the decoder reads nothing after them.
        """
        tokens = F.pad(history.masked_fill(history == NO_ITEM, self.items), (1, 0), value=self.items)
        hidden: Tensor = self.model.transformer(tokens.to(self.device)).last_hidden_state
        return hidden[row.to(self.device), position.to(self.device)]

    @torch.no_grad()
    def ranks(self, queries: Queries, length: int) -> NDArray[np.int64]:
        """[queries] of their targets; the logits are inner products, which the library's own scorer takes."""
        self.model.eval()
        rows, parts = QueryRows(queries, length), 1 + len(queries) // 256
        batches = [rows.fetch(part, 0) for part in np.array_split(np.arange(len(queries)), parts)]
        found = torch.cat([self.states(b["history"], b["row"], b["position"]) for b in batches])
        scorer = EmbeddingScorer("peer", queries, found, self.model.lm_head.weight[: self.items])
        return ranks(scorer, queries, self.items)


def training_rows(data: MovieLensDataModule) -> TrainingRows:
    """The rows of the two towers."""
    log = data.log
    pieces = cut_pieces(log.user_starts()[:-1], data.training_log.user_counts(), data.history_length)
    return TrainingRows(Queries.of(log, np.arange(len(log))), pieces, data.history_length)


def positions(batch: RetrievalBatch, begin: NDArray[np.int64], reads: str) -> Tensor:
    """[queries] how many of its row's items each reads; `begin` is [rows], the first event of each row's history."""
    if reads == "before":
        return batch["position"]
    return batch["index"] - torch.from_numpy(begin)[batch["row"]]


def trained(data: MovieLensDataModule, setting: Setting, seed: int) -> Peer:
    """A peer after all epochs."""
    torch.manual_seed(seed)
    peer, rows = Peer(len(data.item_texts), data.history_length, setting), training_rows(data)
    batch_size = int(FIXED["batch"])
    optimizer = torch.optim.AdamW(peer.model.parameters(), lr=setting["rate"], weight_decay=FIXED["weight_decay"])
    steps = setting["epochs"] * -(-len(rows.pieces) // batch_size)
    schedule = transformers.get_cosine_schedule_with_warmup(optimizer, int(FIXED["warmup"] * steps), steps)
    peer.model.train()
    for epoch in range(setting["epochs"]):
        order = np.random.default_rng([seed, epoch]).permutation(len(rows.pieces))
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            batch = rows.fetch(chosen, epoch)
            reads = positions(batch, rows.pieces.begin[chosen], setting["reads"])
            logits = peer.model.lm_head(peer.states(batch["history"], batch["row"], reads))
            loss = F.cross_entropy(logits[:, : peer.items], batch["target"].to(peer.device))
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    return peer


def key_of(split: str, data: MovieLensDataModule) -> dict[str, Any]:
    """What a kept run is found by, besides its seed and setting."""
    return {"part": split, "queries": digest(data.queries(split)), "length": data.history_length, **FIXED}


def measured(data: MovieLensDataModule, split: str, setting: Setting, seed: int) -> dict[str, Any]:
    """Train, then rank the queries of a split."""
    started, queries = time.perf_counter(), data.queries(split)
    peer = trained(data, setting, seed)
    found = peer.ranks(queries, data.history_length)
    seconds = round(time.perf_counter() - started, 1)
    print(f"{split}, seed {seed}, {setting}: HR@100 {rank_gains(found, 'HR@100').mean():.4f}, {seconds} s", flush=True)
    return {"seconds": seconds, **ranks_row(queries.users.tolist(), found)}


def climb(grid: Mapping[str, Sequence[Any]], value: Callable[[Setting], float]) -> Setting:
    """One setting after the other, each at its best with the best of all others, round by round until none changes.

    The first value of each is where it starts, and wins ties.
    """
    best = {name: values[0] for name, values in grid.items()}
    while True:
        before = dict(best)
        for name, values in grid.items():
            best[name] = max(values, key=lambda one: value({**best, name: one}))
        if best == before:
            return best


def choose(data: MovieLensDataModule, grid: Mapping[str, Sequence[Any]], metric: str, path: Path, go: bool) -> Setting:
    """The best setting by the validation window; without `go` from kept runs alone."""
    key = key_of("validation", data)

    def value(setting: Setting) -> float:
        def measure() -> dict[str, Any]:
            if not go:
                sys.exit(f"{path} has no validation of {setting}: run `choose` first, with the same grid and metric")
            return measured(data, "validation", setting, seed=0)

        return float(rank_gains(kept_run(path, {**key, **setting}, measure)["ranks"], metric).mean())

    return climb(grid, value)


def chosen(key: Setting, best: Setting, metric: str, path: Path) -> str:
    """What was tried so far in Markdown, the best first, and which numbers of the best a wider grid might change."""
    rows = [row for row in read_runs(path) if key.items() <= row.items()]
    rows.sort(key=lambda row: -rank_gains(row["ranks"], metric).mean())
    lines = [f"| {' | '.join([*best, *METRICS, 'seconds'])} |", "|---" * (len(best) + len(METRICS) + 1) + "|"]
    for row in rows:
        scores = [f"{rank_gains(row['ranks'], each).mean():.4f}" for each in METRICS]
        lines.append(f"| {' | '.join([*(str(row[name]) for name in best), *scores, str(row['seconds'])])} |")
    tried = {name: {row[name] for row in rows} for name, value in best.items() if not isinstance(value, str)}
    edge = [name for name, values in tried.items() if best[name] in (min(values), max(values))]
    return "\n".join([*lines, "", f"Chosen: {best}; the lowest or highest that was tried: {', '.join(edge) or 'none'}"])


def versus(runs: list[Path], path: Path) -> str:
    """Two-tower runs beside the peer on the same test queries, in Markdown; averaged over runs and seeds."""
    found = [asked(run) for run in runs]
    for run in runs:
        if not yaml.safe_load((run / "config.yaml").read_text())["data"]["init_args"]["train_on_validation"]:
            sys.exit(f"{run} was not trained on the validation window, as the peer was: train as the recipe says")
    if len({queries for queries, _ in found}) > 1:
        sys.exit("the runs have different test queries: give runs on the same data")
    kept = [row for row in read_runs(path) if row["part"] == "test" and row["queries"] == found[0][0]]
    if len({str([row[name] for name in (*GRID, *FIXED)]) for row in kept}) != 1:
        sys.exit(f"{path} must have tests with these queries of one setting, got {len(kept)} tests: run `test`")
    towers = [ranks_row(table["user"].tolist(), table["rank_two_tower"].to_numpy()) for _, table in found]
    pairs = list(itertools.product(towers, kept))  # every run with every seed
    first, second = [one for one, _ in pairs], [other for _, other in pairs]
    lines = [f"| test, {len(found[0][1]):,} queries | {' | '.join(METRICS)} |", "|---" * (len(METRICS) + 1) + "|"]
    for name, rows in ((f"two_tower, runs: {len(towers)}", towers), (f"peer, seeds: {len(kept)}", kept)):
        lines.append(f"| {name} | {' | '.join(cell(score(rows, metric)) for metric in METRICS)} |")
    cells = [cell(difference(first, second, metric), "+") for metric in METRICS]
    noise = "; with one run or seed its noise is not in them" if min(len(towers), len(kept)) == 1 else ""
    told = f"95% intervals over users, of these runs and seeds{noise}. Peer: { {name: kept[0][name] for name in GRID} }"
    return "\n".join([*lines, f"| two_tower minus peer | {' | '.join(cells)} |", "", told])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("choose", "test", "versus"))
    parser.add_argument("--root", type=Path, help="the unpacked folder ml-100k")
    parser.add_argument("--run", type=Path, nargs="+", default=[], help="run folders of the two towers, to compare")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--metric", choices=METRICS, default="HR@100", help="by which settings are chosen")
    for name, values in GRID.items():
        only: Any = {"choices": values} if name == "reads" else {}
        parser.add_argument(f"--{name}", nargs="+", type=type(values[0]), default=list(values), **only)
    parser.add_argument("--recipe", default=RECIPE, help="whose data options count")
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args()
    if not (given.run if given.command == "versus" else given.root) or given.seeds < 1:
        parser.error("versus needs --run FOLDER; choose and test need --root FOLDER and --seeds of at least 1")
    if given.command == "versus":
        print(versus(given.run, given.results))
        return
    data = recipe_data(given.root, given.recipe, train_on_validation=False)
    grid = {name: getattr(given, name) for name in GRID}
    best = choose(data, grid, given.metric, given.results, go=given.command == "choose")
    if given.command == "choose":
        print(chosen(key_of("validation", data), best, given.metric, given.results))
    else:
        data = recipe_data(given.root, given.recipe, train_on_validation=True)
        for seed in range(given.seeds):
            key = {**key_of("test", data), "seed": seed, **best}
            kept_run(given.results, key, lambda: measured(data, "test", best, seed))  # noqa: B023


if __name__ == "__main__":
    main()

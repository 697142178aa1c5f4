"""Memory and time of large retrieval: steps of large batches with a live encoder, and the ranking of a large catalogue.

    python scripts/benchmarks/retrieval_scale.py batch
    python scripts/benchmarks/retrieval_scale.py batch --sizes 1024 4096 --chunk 128 --tokens 64
    python scripts/benchmarks/retrieval_scale.py batch --frozen
    python scripts/benchmarks/retrieval_scale.py ranking
    python scripts/benchmarks/retrieval_scale.py ranking --queries 2000 --threads 2
    python scripts/benchmarks/retrieval_scale.py --accelerator gpu batch --precision bf16-mixed
    python scripts/benchmarks/retrieval_scale.py --accelerator gpu ranking

`batch` trains a two-tower model whose item encoder is fine-tuned, in a process of its own for each line: the smallest
size with its texts encoded at once, and each size with `--chunk` texts at once. Every query of a batch asks for another
item, so that as many texts are encoded as there are queries. The texts are the shipped reviews, cut at `--tokens`; a
row of 50 items serves 25 queries. Features of the items in histories are drawn, not computed. With `--frozen` those of
all items are, and what is read at once are the histories of so many queries.

`ranking` places each query's target among all items with the retrieval's own `ranks`, for random
vectors of length 1 and histories of five items. Ctrl-C ends it early with what was ranked until then.

Memory is resident memory, looked at 200 times a second: its largest value, less that before the first step, when
libraries, data, weights and embeddings were there. With many chunks glibc's heap keeps holes between blocks that were
freed; `--give_back 256` has it give blocks of 256 KiB and more back to the system at once, in all lines, which shows
what the tensors themselves need, and is slower. With `--accelerator gpu` it is what torch allocates on the GPU.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import numpy as np
import torch
from cuda_memory import CudaMemory
from large_batches import Case, Measured, train
from numpy.typing import NDArray
from resident_memory import Memory
from tqdm.auto import tqdm

from lightning_tl.contracts.interactions import InteractionLog, Queries
from lightning_tl.reports.resources import duration_text, memory_text
from lightning_tl.retrieval.ranking.ranking import EmbeddingScorer, Scorer, queries_at_once, ranks

SEEN = 5  # items in the history of a query that is ranked
WHOLE, LINE_S = 100_000, 60.0  # queries of the whole measurement; seconds between two lines without a terminal


def alone(case: Case) -> Measured:
    """`train` in a process of its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        try:
            return pool.submit(train, case).result()
        except BrokenProcessPool:
            raise SystemExit(f"the process of {case} was killed, probably for want of memory: lower tokens") from None


def batch(sizes: list[int], chunk: int, give_back: int | None = None, **options: Any) -> None:
    """Print the table, each line when it is there, and what it says of the largest batch."""
    os.environ |= {"HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "ignore"} | os.environ
    if give_back:
        os.environ["MALLOC_MMAP_THRESHOLD_"] = str(1024 * give_back)  # read when a process starts
    cases = [Case(min(sizes), min(sizes), **options), *(Case(size, chunk, **options) for size in sorted(sizes))]
    print("| queries in a batch | read at once | memory beyond the start | whole process | seconds a step |")
    print("|---|---|---|---|---|", flush=True)
    found = []
    for case in cases:
        found.append(alone(case))
        cells = [f"{case.queries:,}", f"{case.chunk:,}", *map(memory_text, found[-1][:2])]
        print(f"| {' | '.join(cells)} | {found[-1].seconds:.1f} |", flush=True)
    print(f"\n{verdict(cases[0], found[0], cases[-1], found[-1])}")


def verdict(least: Case, small: Measured, most: Case, large: Measured) -> str:
    """Whether the largest batch needs no more memory than the smallest with all texts at once."""
    ratio = large.beyond / max(1, small.beyond)
    return (
        f"A batch of {most.queries:,} queries, {most.chunk:,} read at once, takes {ratio:.2f} times the memory of "
        f"{least.queries:,} read at once: it trains {'within' if ratio <= 1 else 'NOT within'} that memory."
    )


def random_queries(count: int, item_count: int, generator: np.random.Generator) -> Queries:
    """The last event of each of `count` users, who took random items before."""
    users = np.repeat(np.arange(count, dtype=np.int32), SEEN + 1)
    items = generator.integers(0, item_count, len(users), dtype=np.int32)
    times = np.tile(np.arange(SEEN + 1), count)
    user_ids, item_ids = ([str(number) for number in range(many)] for many in (count, item_count))
    log = InteractionLog(users, items, times, user_ids, item_ids)
    return Queries.of(log, np.arange(SEEN, len(log), SEEN + 1))


def unit_vectors(count: int, dim: int, seed: int) -> torch.Tensor:
    """[count, dim] float32, random directions."""
    found = torch.randn(count, dim, generator=torch.Generator().manual_seed(seed))
    return found.div_(found.norm(dim=1, keepdim=True))


def rank_until_stopped(
    scorer: Scorer, queries: Queries, item_count: int, tell: Callable[[int], None]
) -> NDArray[np.int64]:
    """`ranks` of the queries, a chunk at a time; after Ctrl-C those of the chunks that were whole.

    Args:
        tell: called after each chunk with the number of its queries.
    """
    step, found = queries_at_once(item_count), [np.zeros(0, np.int64)]
    try:
        for start in range(0, len(queries), step):
            found.append(ranks(scorer, queries[start : start + step], item_count))
            tell(len(found[-1]))
    except KeyboardInterrupt:
        print("\nstopped", flush=True)
    return np.concatenate(found)


class Progress:
    """A bar on a terminal, elsewhere a line a minute."""

    def __init__(self, total: int) -> None:
        self.total, self.done, self.started = total, 0, time.monotonic()
        self.last = self.started
        self.bar = tqdm(total=total, desc="Ranking", unit=" queries", disable=None, leave=False)

    def add(self, count: int) -> None:
        self.done += count
        self.bar.update(count)
        if self.bar.disable and time.monotonic() - self.last >= LINE_S:
            self.last = time.monotonic()
            left = (self.last - self.started) / self.done * (self.total - self.done)
            print(f"{self.done:,} of {self.total:,} queries, about {duration_text(left)} left", flush=True)


def ranking(count: int, item_count: int, dim: int, accelerator: str) -> None:
    """Print what ranking took."""
    queries = random_queries(count, item_count, np.random.default_rng(0))
    device = "cpu" if accelerator == "cpu" else "cuda"
    users, items = (unit_vectors(many, dim, seed).to(device) for many, seed in ((count, 1), (item_count, 2)))
    scorer = EmbeddingScorer("random", queries, users, items)
    memory = Memory() if accelerator == "cpu" else CudaMemory()
    progress = Progress(count)
    found = rank_until_stopped(scorer, queries, item_count, progress.add)
    seconds, taken = time.monotonic() - progress.started, memory.beyond()
    progress.bar.close()
    if not len(found):
        raise SystemExit("nothing was ranked")
    place = f"{torch.get_num_threads()} CPU threads" if accelerator == "cpu" else torch.cuda.get_device_name()
    print(
        f"{len(found):,} of {count:,} queries ranked among {item_count:,} items of {dim} dimensions in "
        f"{duration_text(seconds)} ({seconds:.1f} s, {len(found) / seconds:,.1f} queries a second), "
        f"{place}; at most {memory_text(taken)} beyond the embeddings, which take "
        f"{memory_text(4 * dim * (count + item_count))}; the median rank is {np.median(found):,.0f}"
    )
    if len(found) < WHOLE:
        print(f"These are fewer than {WHOLE:,} queries; nothing was extrapolated.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, help="CPU threads for torch")
    parser.add_argument("--accelerator", choices=("cpu", "gpu"), default="cpu")
    commands = parser.add_subparsers(dest="command", required=True)
    large = commands.add_parser("batch", help="memory and seconds of training steps")
    large.add_argument("--sizes", type=int, nargs="+", default=[1024, 16384], help="queries in a batch")
    large.add_argument("--chunk", type=int, default=256, help="texts encoded at once")
    large.add_argument("--tokens", type=int, default=32, help="most tokens of a text")
    large.add_argument("--steps", type=int, default=2, help="of each line")
    large.add_argument("--frozen", action="store_true", help="the encoder is")
    large.add_argument("--precision", default="32-true", help="of the Trainer")
    large.add_argument("--encoder", help="folder; default MiniLM")
    large.add_argument("--give_back", type=int, metavar="KIB", help="blocks that glibc gives back when they are freed")
    wide = commands.add_parser("ranking", help="memory and time of ranking a catalogue")
    wide.add_argument("--queries", type=int, default=WHOLE)
    wide.add_argument("--items", type=int, default=1_000_000)
    wide.add_argument("--dim", type=int, default=128)
    given = vars(parser.parse_args())
    for name, value in given.items():
        if isinstance(value, int | list) and np.min(value) < 1:
            parser.error(f"--{name} must be at least 1, got {value}")
    command, threads = given.pop("command"), given["threads"]
    if given["accelerator"] == "gpu" and not torch.cuda.is_available():
        parser.error("--accelerator gpu finds no CUDA device")
    if command == "batch":
        batch(**given)
        return
    if threads:
        torch.set_num_threads(threads)
    ranking(given["queries"], given["items"], given["dim"], given["accelerator"])


if __name__ == "__main__":
    main()

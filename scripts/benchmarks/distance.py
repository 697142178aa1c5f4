"""Distances of domains: level and power of the tests, and what sizes of data cost in seconds and memory.

python scripts/benchmarks/distance.py --draws 200
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from lightning_tl.choosing.distance.frechet import frechet
from lightning_tl.choosing.distance.mmd import mmd
from lightning_tl.choosing.distance.proxy_a import proxy_a

SHIFTS = (0.0, 0.25, 0.5, 1.0)  # distance of the means, in standard deviations of a dimension
DIM = 384


def normal(seed: int, samples: int, dim: int, shift: float = 0.0) -> NDArray[np.float32]:
    drawn = np.random.default_rng(seed).standard_normal((samples, dim), dtype=np.float32)
    drawn += np.float32(shift / np.sqrt(dim))
    return drawn


def levels(draws: int, samples: int = 200, dim: int = 16) -> None:
    print(f"rejected at p <= 0.05, {samples} samples a side of {dim} dimensions, {draws} draws")
    print(f"{'distance of means':>20}  {'exact':>6}  {'over blocks':>11}")
    for shift in SHIFTS:
        shares = [
            np.mean(
                [
                    mmd(
                        normal(2 * k, samples, dim),
                        normal(2 * k + 1, samples, dim, shift),
                        permutations=200,
                        seed=k,
                        exact_per_side=exact,
                    ).p_value
                    <= 0.05
                    for k in range(draws)
                ]
            )
            for exact in (3_000, 20)
        ]
        print(f"{shift:>20}  {shares[0]:>6.3f}  {shares[1]:>11.3f}", flush=True)


def cost(name: str, measure: Callable[[NDArray[Any], NDArray[Any]], Any], samples: int) -> None:
    x, y = normal(0, samples, DIM), normal(1, samples, DIM, 0.5)
    before = psutil.Process().memory_info().rss / 2**30
    started, cpu = time.perf_counter(), time.process_time()
    measure(x, y)
    spent = time.perf_counter() - started, time.process_time() - cpu
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    added = max(0.0, most - before)
    took = f"{spent[0]:>6.1f} s  {spent[1]:>6.1f} s of CPU"
    print(f"{name:<28} {samples:>7,} a side  {took}  {added:>5.2f} GiB more than {before:.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=200, help="tests for each share")
    arguments = parser.parse_args()
    print(f"{DIM} dimensions; memory is the most of the process so far, beside what it had before, data included")
    cost("MMD, over blocks", mmd, 50_000)
    cost("MMD, exact, 500 exchanges", mmd, 3_000)
    cost("proxy A-distance", proxy_a, 3_000)
    cost("Fréchet distance", frechet, 3_000)
    levels(arguments.draws)


if __name__ == "__main__":
    main()

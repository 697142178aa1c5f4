"""Embedding a table of texts: `scripts/embed.py` against `SentenceTransformer.encode`, texts per second.

    python scripts/benchmarks/embed_speed.py

The same shipped reviews and the same MiniLM on both sides, in this order in every repetition and in the opposite order
in the next, so that other load on the machine meets both. Loading the model is left out everywhere. Ours is the whole
rest of the command: reading the table, tokenising with an empty cache, hashing the weights, embedding, parts and the
Parquet file; theirs is `encode` on texts in memory, which tokenises too. The first two lines have batches of 32 and one
precision (bf16: autocast) on both sides; the third has everybody's defaults.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import shutil
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import sentence_transformers
import torch
from numpy.typing import NDArray

from datamodules import TextDataModule
from datamodules.texts.text_data import REVIEWS
from lightning_tl.backbones import HuggingFaceText
from lightning_tl.embedding import Embedder, EmbeddingSettings, OutputFile, Ranks
from lightning_tl.embedding.precision import has_bf16

BATCH = 32
Values = NDArray[np.float32]


def ours(backbone: HuggingFaceText, folder: Path, settings: EmbeddingSettings, accelerator: str) -> Values:
    """Embeddings [n, dim] by the command's own path, its cache of tokens empty."""
    shutil.rmtree(folder / "cache", ignore_errors=True)
    data = TextDataModule(path=str(folder / "texts.parquet"), cache=folder / "cache")
    output = OutputFile(folder / "out.parquet", overwrite=True)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        Embedder(backbone, "MiniLM", data, None, settings, Ranks(), accelerator).write(output)
    column = pq.read_table(output.path)["embedding"].combine_chunks()
    values: Values = column.flatten().to_numpy().reshape(len(column), -1)
    return values


def theirs(model: Any, texts: list[str], device: torch.device, bf16: bool) -> Values:
    """Embeddings [n, dim] by `encode`."""
    with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
        values: Values = model.encode(texts, batch_size=BATCH, show_progress_bar=False)
    return values


def timed(action: Callable[[], Values]) -> tuple[tuple[float, float], Values]:
    """Wall and CPU seconds, and what was computed."""
    wall, cpu = time.perf_counter(), time.process_time()
    values = action()
    return (time.perf_counter() - wall, time.process_time() - cpu), values


def compare(name: str, actions: tuple[Callable[[], Values], Callable[[], Values]], repetitions: int) -> str:
    """A line of the table: medians over the repetitions, and the median of their ratios."""
    seconds = np.zeros((repetitions, 2, 2))  # repetition, side, clock
    found: list[Values] = [np.zeros((0, 0), np.float32)] * 2
    for repetition in range(repetitions):
        for side in (0, 1) if repetition % 2 == 0 else (1, 0):
            seconds[repetition, side], found[side] = timed(actions[side])
    rates = len(found[0]) / np.median(seconds[:, :, 0], axis=0)
    ratios = seconds[:, 1] / seconds[:, 0]  # [repetitions, clocks]
    gap = np.abs(found[0] - found[1].astype(np.float32)).max()
    told = [f"{np.median(r):.2f} ({r.min():.2f}…{r.max():.2f})" for r in ratios.T]
    return f"| {' | '.join((name, f'{rates[0]:.1f}', f'{rates[1]:.1f}', *told, f'{gap:.1e}'))} |"


def measure(folder: Path, count: int, repetitions: int, accelerator: str) -> list[str]:
    texts = pd.read_parquet(REVIEWS)["text"].astype(str).tolist()[:count]
    pd.DataFrame({"text": texts}).to_parquet(folder / "texts.parquet")
    backbone = HuggingFaceText()
    device = Ranks().device(accelerator)
    model = sentence_transformers.SentenceTransformer(backbone.input_spec.tokenizer, device=str(device))
    same = {"batch_size": BATCH, "batch_tokens": 2**40}
    lines = [("32", EmbeddingSettings("32", **same), False)]
    if has_bf16(device) is not None:
        lines.append(("bf16", EmbeddingSettings("bf16", **same), True))
    lines.append(("defaults", EmbeddingSettings(), False))
    theirs(model, texts[:BATCH], device, False)  # warms up
    ours(backbone, folder, EmbeddingSettings("32", BATCH), accelerator)
    rows = []
    for name, settings, bf16 in lines:
        sides = (partial(ours, backbone, folder, settings, accelerator), partial(theirs, model, texts, device, bf16))
        rows.append(compare(name, sides, repetitions))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=2000)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--threads", type=int, help="CPU threads for torch")
    parser.add_argument("--accelerator", default="auto", help="auto, cpu or gpu")
    given = parser.parse_args()
    logging.getLogger("lightning.pytorch.utilities.rank_zero").setLevel(logging.ERROR)
    if given.threads:
        torch.set_num_threads(given.threads)
    with tempfile.TemporaryDirectory() as folder:
        lines = measure(Path(folder), given.texts, given.repetitions, given.accelerator)
    print(
        f"{given.texts:,} reviews, MiniLM, {torch.get_num_threads()} CPU threads, {given.repetitions} repetitions; "
        f"sentence-transformers {sentence_transformers.__version__}; texts per second, medians\n"
    )
    print("| precision | ours | encode | times faster: wall (from…to) | CPU time | largest difference |")
    print("|---|---|---|---|---|---|")
    print("\n".join(lines) + "\n\nAim: at least 1.0 times in precision 32.")


if __name__ == "__main__":
    main()

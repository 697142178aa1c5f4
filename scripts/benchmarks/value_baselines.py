"""Baselines of regression on the shipped reviews: the mean, and ridge regression on TF-IDF weights of words.

    python scripts/benchmarks/value_baselines.py [FRACTION]

FRACTION of the training and validation texts, as `--data.label_fraction`; the test is the same.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import Ridge

from datamodules import TextDataModule
from lightning_tl.metrics import value_scores


def main(fraction: float | None) -> None:
    """Choose words or pairs of words, and the penalty, by squared error on validation; print the test's scores."""
    data = TextDataModule(label="rating", task="regression", label_fraction=fraction)
    records = data.records
    splits = {name: np.flatnonzero(records.splits == name) for name in ("train", "validation", "test")}
    splits["train"], splits["validation"] = data.few_labels.choose(
        splits["train"], splits["validation"], records.labels, records.class_names, data.seed
    )
    texts = {name: [records.texts[int(i)] for i in indices] for name, indices in splits.items()}
    target = {name: records.labels[indices, 0] for name, indices in splits.items()}
    best: tuple[float, TfidfVectorizer, Ridge] | None = None
    for longest in (1, 2):
        words = TfidfVectorizer(ngram_range=(1, longest), sublinear_tf=True)
        features, other = words.fit_transform(texts["train"]), words.transform(texts["validation"])
        for alpha in (0.1, 0.3, 1, 3, 10, 30):
            model = Ridge(alpha=alpha).fit(features, target["train"])
            error = float(np.square(model.predict(other) - target["validation"]).mean())
            if best is None or error < best[0]:
                best = error, words, model
    assert best is not None
    blocks = data.blocks(splits["test"].tolist())
    mean = np.full(len(splits["test"]), target["train"].mean())
    for name, predicted in (("mean", mean), ("TF-IDF ridge", best[2].predict(best[1].transform(texts["test"])))):
        _tell(name, value_scores(target["test"], predicted, blocks))


def _tell(name: str, scores: dict[str, Any]) -> None:
    ends = {s: scores[f"{s}_interval"] for s in ("mae", "rmse", "r2")}
    print(name, *(f"{s} {scores[s]:.3f} [{e['low']:.3f}, {e['high']:.3f}]" for s, e in ends.items()), sep="  ")


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else None)

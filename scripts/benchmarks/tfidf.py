"""The baseline for texts: logistic regression on TF-IDF weights of words."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from datamodules import TextDataModule


def run_tfidf(labels: int | None, draw: int, data: TextDataModule) -> dict[str, Any]:
    """Words, or words and pairs of words, and the penalty: what has the lowest loss on validation; then the test.

    Args:
        labels: how many to train on; None for all.
        draw: which.
    """
    records, started = data.records, time.perf_counter()
    splits = {name: np.flatnonzero(records.splits == name) for name in ("train", "validation", "test")}
    if labels is not None:
        few = TextDataModule(label=data.label, label_fraction=labels / len(splits["train"])).few_labels
        splits["train"], splits["validation"] = few.choose(
            splits["train"], splits["validation"], records.labels, records.class_names, draw
        )
    texts = {name: [records.texts[int(i)] for i in indices] for name, indices in splits.items()}
    target = {name: records.labels[indices] for name, indices in splits.items()}
    best: tuple[float, TfidfVectorizer, LogisticRegression] | None = None
    for longest in (1, 2):
        words = TfidfVectorizer(ngram_range=(1, longest), sublinear_tf=True)
        features = {name: words.fit_transform(texts["train"]) if name == "train" else words.transform(texts[name])
                    for name in ("train", "validation")}  # fmt: skip
        for c in (0.1, 1, 10, 100, 1000):
            model = LogisticRegression(C=c, max_iter=2000).fit(features["train"], target["train"])
            probabilities = np.zeros((len(target["validation"]), len(records.class_names)))
            probabilities[:, model.classes_] = model.predict_proba(features["validation"])
            loss = log_loss(target["validation"], probabilities.clip(1e-9), labels=range(len(records.class_names)))
            if best is None or loss < best[0]:
                best = loss, words, model
    assert best is not None
    predicted = best[2].predict(best[1].transform(texts["test"]))
    return {
        "predicted": "".join(map(str, predicted)),
        "seconds": {"training": round(time.perf_counter() - started, 1)},
        "trainable": int(best[2].coef_.size + best[2].intercept_.size),
    }

"""Files in the shape of MovieLens-100K; its licence lets nobody pass on the real ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from datamodules.sets.movielens import GENRES

RECIPE = """\
# A small recipe.
model:
  class_path: lightning_tl.retrieval.TwoTower
  init_args:
    items:
      class_path: lightning_tl.retrieval.ItemTower
      init_args:
        encoder:
          class_path: lightning_tl.backbones.HuggingFaceText
          init_args:
            pretrained: {model}
        dim: 8
        hidden: 16
    lr: 0.01
data:
  class_path: datamodules.MovieLensDataModule
  init_args:
    batch_size: 8
    history_length: 6
    num_workers: 0
    train_on_validation: true
    cache: {folder}/cache
checkpoint:
  monitor: null
trainer:
  max_epochs: 2
  accelerator: cpu
  devices: 1
  enable_progress_bar: false
  enable_model_summary: false
"""


def write_movielens(folder: Path, model: Path | str = "none") -> tuple[Path, Path]:
    """The files of ml-100k at a small size, 60 people who all come back, and a recipe for them."""
    generator, root = np.random.default_rng(0), folder / "ml"
    root.mkdir(parents=True)
    films, people, events = 40, 60, 16
    flags = np.zeros((films, len(GENRES)), int)
    flags[np.arange(films), 1 + np.arange(films) % 3] = 1
    lines = [f"{k + 1}|The boat {k} (1990)|d||u|{'|'.join(map(str, flags[k]))}" for k in range(films)]
    (root / "u.item").write_text("\n".join(lines) + "\n", encoding="latin-1")
    lines = [f"{k + 1}|{20 + k}|{'MF'[k % 2]}|writer|0000{k}" for k in range(people)]
    (root / "u.user").write_text("\n".join(lines) + "\n")
    rows = []
    for user in range(people):
        liked = np.where(np.arange(films) % 3 == user % 3, 20.0, 1.0)
        taken = generator.choice(films, events, replace=False, p=liked / liked.sum())
        times = 880_000_000 + 600 * np.sort(generator.integers(0, 30, events))  # many in one second
        rows += [(user + 1, item + 1, 4, time) for item, time in zip(taken, times, strict=True)]
    table = pd.DataFrame(rows).sample(frac=1, random_state=0)  # as the file comes: in no order
    table.to_csv(root / "u.data", sep="\t", header=False, index=False)
    recipe = folder / "small.yaml"
    recipe.write_text(RECIPE.format(model=model, folder=folder))
    return root, recipe


def movielens(folder: Path, parquet: bool) -> Path:
    """A few ratings in the shape of MovieLens-100K; its licence lets nobody pass on the real ones."""
    generator = np.random.default_rng(0)
    ratings = [(u, i, 3, 880_000_000 + 1000 * t + u) for u in range(1, 9) for t, i in
               enumerate(generator.choice(np.arange(1, 13), 8, replace=False))]  # fmt: skip
    events = pd.DataFrame(ratings, columns=["user_id", "movie_id", "rating", "timestamp"])
    films = pd.DataFrame({"movie_id": range(1, 13), "movie_title": [f"Film {k} (1995)" for k in range(1, 13)]})
    films = films.assign(release_date="", video_release_date="", url="", **{genre: 0 for genre in GENRES})
    films["Comedy"] = films["Drama"] = 1
    people = pd.DataFrame({"user_id": range(1, 9), "age": 30, "gender": "F", "occupation": "writer", "zip_code": "1"})
    folder.mkdir(parents=True)
    if parquet:
        for name, table in (("data", events), ("items", films), ("users", people)):
            table.to_parquet(folder / f"{name}.parquet")
    else:
        events.to_csv(folder / "u.data", sep="\t", header=False, index=False)
        films.to_csv(folder / "u.item", sep="|", header=False, index=False, encoding="latin-1")
        people.to_csv(folder / "u.user", sep="|", header=False, index=False)
    return folder

"""`MovieLensDataModule`: MovieLens-100K from a folder of the user's."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pandas as pd

from datamodules.events.interaction_data import InteractionDataModule
from datamodules.loading.made_once import cache_folder, made_once
from datamodules.loading.unused_options import check_no_files

GENRES = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip
# Names of the columns as the files have them, and here.
_NAMES = {
    "user_id": "user",
    "movie_id": "item",
    "movie_title": "title",
    "timestamp": "time",
}


class MovieLensDataModule(InteractionDataModule):
    """Who rated which film when (Harper & Konstan 2015, doi 10.1145/2827872); every rating is an event.

    Its licence forbids passing it on, so it does not ship: download ml-100k.zip from grouplens.org/datasets/movielens
    and unpack it.

    Args:
        root: folder with u.data, u.item and u.user; or with data.parquet, items.parquet and users.parquet.
        **options: of `InteractionDataModule`, but for the files of events, items and users.

    Raises:
        ValueError: such a file.
        FileNotFoundError: the folder holds no such files.
    """

    def __init__(self, root: Path | None = None, **options: Any) -> None:
        check_no_files(options, "MovieLens is read from one folder", "set root (--data.root=FOLDER)")
        super().__init__(
            texts=("title", "genres"), category="genre", profile=("age", "gender", "occupation"), **options
        )
        self.root = root
        self.items_path = self.users_path = root

    def tables(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Films with title and genres; people with age, gender and occupation."""
        films = self._table("u.item", "items.parquet", ["item", "title", "released", "video", "url", *GENRES])
        flags = films[list(GENRES[1:])].to_numpy() == 1
        named = [[genre for genre, flag in zip(GENRES[1:], row, strict=True) if flag] for row in flags]
        films = films[["item", "title"]].assign(
            genres=[", ".join(genres) for genres in named], genre=[genres[0] if genres else "" for genres in named]
        )
        return films, self._table("u.user", "users.parquet", ["user", "age", "gender", "occupation", "zip_code"])

    def event_files(self) -> Path:
        """The ratings as a table beside other prepared data."""
        events = self._table("u.data", "data.parquet", ["user", "item", "rating", "time"])[["user", "item", "time"]]
        digest = hashlib.sha256(pd.util.hash_pandas_object(events, index=False).to_numpy().tobytes()).hexdigest()[:16]
        folder = (self.cache or cache_folder()) / f"movielens-{digest}"
        made_once(folder, "events.parquet", lambda new: events.to_parquet(new / "events.parquet", index=False))
        return folder / "events.parquet"

    def _table(self, text: str, parquet: str, names: list[str]) -> pd.DataFrame:
        root = None if self.root is None else Path(self.root)
        if root is not None and (root / parquet).is_file():
            return pd.read_parquet(root / parquet).rename(columns=_NAMES)
        if root is None or not (root / text).is_file():
            found = "no folder was given" if root is None else f"{root} has neither {text} nor {parquet}"
            raise FileNotFoundError(
                f"{found}: set root (--data.root=FOLDER) to the unpacked folder ml-100k, which holds u.data, u.item "
                "and u.user (grouplens.org/datasets/movielens)"
            )
        separator = "\t" if text == "u.data" else "|"
        return pd.read_csv(root / text, sep=separator, names=names, encoding="latin-1")

"""Write `datamodules/sets/reviews/reviews.parquet` from the public table of clothing reviews.

    python scripts/tools/make_reviews.py womens_clothing_reviews.parquet

Reviews without a text or a department are left out. The split is drawn department by department with the same code
that splits a user's own table; reviews of the same text lie on one side.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from datamodules.labelled.labels import class_numbers
from datamodules.labelled.stratified import grouped_split

TARGET = Path(__file__).resolve().parent.parent.parent / "datamodules" / "sets" / "reviews" / "reviews.parquet"
COLUMNS = {
    "Title": "title",
    "Review Text": "text",
    "Rating": "rating",
    "Department Name": "department",
    "Class Name": "class",
    "Age": "age",
    "Clothing ID": "clothing_id",
}


def reviews(source: pd.DataFrame) -> pd.DataFrame:
    """The reviews that can be used, with ids and splits."""
    table = source.rename(columns=COLUMNS)[list(COLUMNS.values())]
    table.insert(0, "id", [f"review-{number:05d}" for number in range(len(table))])
    kept = table[table["text"].fillna("").str.strip().ne("") & table["department"].notna()].reset_index(drop=True)
    labels, names = class_numbers(kept["department"], kept["id"].tolist(), "the reviews", None)
    kept["split"] = grouped_split(kept["text"].tolist(), labels, names, 0.15, 0.15, seed=0)
    return kept.astype({name: np.int16 for name in ("age", "clothing_id")} | {"rating": np.int8})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="the table as published, as Parquet")
    table = reviews(pd.read_parquet(parser.parse_args().source))
    pq.write_table(
        pa.Table.from_pandas(table, preserve_index=False), TARGET, compression="brotli", compression_level=11
    )
    print(pd.crosstab(table["department"], table["split"], margins=True).to_string())


if __name__ == "__main__":
    main()

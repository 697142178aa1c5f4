"""Where labelled texts come from: a file, a folder of files, or a data set of the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from datamodules.labelled.labels import SPLIT_NAMES
from datamodules.tables.table_formats import format_of, table_name
from datamodules.tables.tables import joined, read_table

SPLIT = "split"


def read_source(source: str) -> pd.DataFrame:
    """A table of texts; the files of a folder, and a hub data set's parts, give it a column `split`.

    Args:
        source: a `.csv`, `.tsv`, `.jsonl` or `.parquet` file; a folder with such files named `train`, `validation` and
            `test`; or a name on the Hugging Face hub, `owner/name` or `owner/name:configuration`.

    Raises:
        FileNotFoundError: nothing of that name.
        ValueError: see `read_table`.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        return _read_folder(path)
    if format_of(path) is not None or path.exists():
        return read_table(path)
    if source.startswith((".", "~", "/")) or source.count("/") != 1:
        raise FileNotFoundError(
            f"there is no table or folder {path}; a data set of the Hugging Face hub is named owner/name"
        )
    return _read_hub(source)


def _read_folder(folder: Path) -> pd.DataFrame:
    files = [file for file in sorted(folder.iterdir()) if format_of(file) is not None]
    parts: dict[str, Path] = {}
    for file in files:
        split = split_of(table_name(file))
        if split in parts:
            raise ValueError(f"{folder} has two tables for {split}: {parts[split].name} and {file.name}; keep one")
        if split is not None:
            parts[split] = file
    if "train" not in parts:
        found = ", ".join(file.name for file in files) or "no tables"
        raise FileNotFoundError(
            f"{folder} must hold a table named train (and validation, test), as .csv, .tsv, .jsonl or .parquet; "
            f"it holds {found}"
        )
    table = joined({file.name: read_table(file).assign(**{SPLIT: split}) for split, file in parts.items()})
    table.attrs["notes"] = _passed_over([file.name for file in files if file not in parts.values()], str(folder))
    return table


def split_of(name: str) -> str | None:
    """The split that a file or a part of a data set is by its name; None for others, such as `unsupervised`."""
    return SPLIT_NAMES.get(name.lower().removesuffix("_matched"))


def _passed_over(names: list[str], where: str) -> list[str]:
    return [f"of {where} these parts are left out: {', '.join(names)}"] if names else []


def _read_hub(source: str) -> pd.DataFrame:
    from datasets import load_dataset

    name, _, configuration = source.partition(":")
    try:
        loaded: Any = load_dataset(name, configuration or None)
    except (OSError, ValueError, RuntimeError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise FileNotFoundError(
            f"'{source}' is no file, and as a data set of the Hugging Face hub it could not be loaded: {reason}. "
            "Remedies: check the name; set HF_HOME to a folder whose cache holds it; or give a .csv, .tsv, .jsonl or "
            ".parquet file"
        ) from None
    tables: dict[str, pd.DataFrame] = {}
    parts: dict[str, str] = {}
    passed_over: list[str] = []
    for part, dataset in loaded.items():
        split = split_of(str(part))
        if split is None:  # such as "unsupervised", or "validation_mismatched" beside "validation_matched"
            passed_over.append(str(part))
            continue
        if split in parts:
            raise ValueError(
                f"{source} has two parts for {split}, {parts[split]} and {part}: save the one that is meant"
            )
        parts[split] = str(part)
        table = dataset.to_pandas()
        for column, feature in dataset.features.items():
            names = getattr(feature, "names", None)
            if names:  # class numbers by their names
                table[column] = [names[k] if 0 <= k < len(names) else None for k in table[column]]
        tables[str(part)] = table.assign(**{SPLIT: split})
    if "train" not in parts:
        raise ValueError(f"{source} has no part to train on: it has {', '.join(map(str, loaded)) or 'none'}")
    table = joined(tables)
    table.attrs["notes"] = _passed_over(passed_over, source)
    return table

"""Labelled samples of what a backbone knew before, by the place where they lie."""

from __future__ import annotations

from pathlib import Path

from lightning_tl.cli.errors import UserError

SHIPPED = "shipped"
"""In place of a path: the land cover tiles or the reviews that come with the project."""

TABLES = (".csv", ".tsv", ".jsonl", ".parquet")
_IMAGES, _TEXTS = "--data=datamodules.SatelliteDataModule", "--data=datamodules.TextDataModule"


def source_fields(source: str, texts: bool) -> list[str]:
    """The data module that reads a source, as it is typed.

    Args:
        source: folder, table, name of a data set of texts on the hub (`owner/name`), or `shipped`.
        texts: whether the model reads texts, else images.

    Raises:
        UserError: the source is not there, or is of another kind than what the model reads.
    """
    if source == SHIPPED:
        return [_TEXTS if texts else _IMAGES]
    path = Path(source).expanduser()
    if not path.exists() and not (texts and source.count("/") == 1 and not source.startswith((".", "~", "/"))):
        raise UserError(f"there is no source {source}; give a folder or a table that is there, or {SHIPPED}")
    if path.is_dir():
        tables = [file for file in path.iterdir() if {suffix.lower() for suffix in file.suffixes} & set(TABLES)]
        if texts and not tables:
            raise UserError(
                f"the run's model reads texts, but the source {source} is a folder without tables "
                f"({', '.join(TABLES)}): give labelled texts"
            )
        if not texts:
            return ["--data=datamodules.ImageFolderDataModule", f"--data.root={path}"]
    if texts:
        return [_TEXTS, f"--data.path={path if path.exists() else source}"]
    return ["--data=datamodules.ManifestDataModule", f"--data.manifest={path}"]

"""What stands on the command line of `index`: read before anything heavy is imported."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lightning_tl.cli.commands.store_options import StoreOptions, read_store
from lightning_tl.cli.errors import UserError
from lightning_tl.cli.options import Options, Reader, read_options
from lightning_tl.cli.program import program

ACTIONS = ("build", "refresh")
_HELP = """\
usage: {program} index build   --run RUN [--kind KIND] [--memory_limit SIZE] [--latency_ms MS] [--FIELD=VALUE …]
       {program} index refresh --run RUN [--items FILE] [--remove FILE] [--FIELD=VALUE …]
       {program} index build|refresh --run RUN --store qdrant|postgres --url URL|--dsn DSN --name NAME …

`build` makes the index of a run's catalogue anew, with the columns of its table of items to filter by; `refresh` adds
and changes the items of a table, and removes others. The index is replaced whole: one that is killed leaves the old.
In a store the old catalogue is searched until the new one is complete; a load that was stopped goes on when the same
command is given again.

options:
  --run RUN            folder of a run of a retrieval recipe
  --kind KIND          auto (default), FlatIP, IVFFlat, IVFSQ8, IVFPQ, HNSW, or a string of FAISS's index factory
  --recall SHARE       of the exact nearest items that must be found; default 0.99
  --memory_limit SIZE  that the index may take, as 500M or 2G
  --latency_ms MS      that 99 of 100 searches may take
  --items FILE         Parquet or CSV with the columns of the run's table of items: those that are new or changed
  --remove FILE        ids of items to remove, a line each
  --bundle FOLDER      bundle that takes the index too; default that in the run folder, where there is one
  --store STORE        where the items go: faiss (default), files in the run folder; qdrant or postgres
  --url URL            of a Qdrant, or a folder that its client keeps by itself; its key stands in QDRANT_API_KEY
  --dsn DSN            of a PostgreSQL with pgvector; its password stands in PGPASSWORD
  --name NAME          of the catalogue in the store
  --FIELD=VALUE        change a field of the run, for example --data.events=newer.parquet
  --traceback          show where an error comes from"""


@dataclass(frozen=True)
class IndexOptions:
    """What was asked for.

    Args:
        run: the run, and what LightningCLI reads.
        action: "build" or "refresh".
        kind: of index.
        recall: to be reached.
        memory_limit: bytes; None for none.
        latency_ms: milliseconds; None for none.
        items: table of new items; None for none.
        remove: file of ids; None for none.
        bundle: that takes the index too; None for the one in the run folder.
        store: where the items go; None for the run folder.
    """

    run: Options
    action: str
    kind: str
    recall: float
    memory_limit: int | None
    latency_ms: float | None
    items: Path | None
    remove: Path | None
    bundle: Path | None = None
    store: StoreOptions | None = None


def index_help() -> str:
    """What `lightning-tl index --help` prints."""
    return _HELP.format(program=program())


def read_index_options(argv: Sequence[str]) -> IndexOptions:
    """Sort out what belongs to the index; the rest is the run's.

    Args:
        argv: the command line without the program's name and without `index`.

    Raises:
        UserError: no such action, no run, nothing to refresh with, or a value out of range.
    """
    if not argv or argv[0] not in ACTIONS:
        said = f", got '{argv[0]}'" if argv else ""
        raise UserError(f"index needs to know what to do: index build or index refresh{said}")
    reader = Reader(add_help=False, allow_abbrev=False)
    for name in ("run", "items", "remove", "memory_limit", "bundle", "store", "url", "dsn", "name"):
        reader.add_argument(f"--{name}")
    reader.add_argument("--kind", default="auto")
    reader.add_argument("--recall", type=float)
    reader.add_argument("--latency_ms", type=float)
    known, rest = reader.parse_known_args(list(argv[1:]))
    action = argv[0]
    if not known.run:
        raise UserError(f"index {action} needs --run RUN_FOLDER, the run of a retrieval recipe")
    if action == "refresh" and known.items is None and known.remove is None:
        raise UserError("index refresh needs --items FILE, --remove FILE or both")
    if action == "build" and (known.items or known.remove):
        raise UserError("index build takes the run's own items; --items and --remove belong to index refresh")
    store = _store(known)
    recall = 0.99 if known.recall is None else known.recall
    if not 0 < recall <= 1:
        raise UserError(f"recall must be in (0, 1], got {recall}")
    if known.latency_ms is not None and not known.latency_ms > 0:
        raise UserError(f"latency_ms must be above 0, got {known.latency_ms}")
    return IndexOptions(
        read_options(["predict", f"--run={known.run}", *rest]),
        action,
        known.kind,
        recall,
        None if known.memory_limit is None else _bytes(known.memory_limit),
        known.latency_ms,
        _path(known.items),
        _path(known.remove),
        _path(known.bundle),
        store,
    )


def _store(known: argparse.Namespace) -> StoreOptions | None:
    """The store, without options that belong to an index of files."""
    if known.url is not None and known.dsn is not None:
        raise UserError("give --url, of a Qdrant, or --dsn, of a PostgreSQL, not both")
    if known.store == "postgres" and known.url is not None:
        raise UserError("--store postgres takes --dsn; --url is that of a Qdrant")
    if known.store == "qdrant" and known.dsn is not None:
        raise UserError("--store qdrant takes --url; --dsn is that of a PostgreSQL")
    store = read_store(known.store, known.url if known.dsn is None else known.dsn, known.name)
    if store is not None:
        for name in ("recall", "memory_limit", "latency_ms", "bundle"):
            if getattr(known, name) is not None:
                raise UserError(f"--{name} belongs to an index of files: leave it out, or --store")
        if known.kind not in ("auto", "FlatIP", "HNSW"):
            raise UserError(f"in a store --kind is auto, FlatIP or HNSW, got '{known.kind}'")
    return store


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text).expanduser()


def _bytes(text: str) -> int:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", text.strip(), flags=re.IGNORECASE)
    size = 0 if found is None else int(float(found[1]) * 1024 ** " KMGT".index(found[2].upper() or " "))
    if size < 1:
        raise UserError(f"memory_limit is a size such as 500M or 2G, got '{text}'")
    return size

"""Where items are searched, as it stands on a command line; and what must not stand there: passwords."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from lightning_tl.cli.errors import UserError

ADDRESS = "LIGHTNING_TL_STORE"
"""Environment variable with the address of a store, for addresses that nobody else may read."""

_KINDS = {"qdrant": "qdrant", "postgres": "postgres", "pgvector": "postgres"}


@dataclass(frozen=True)
class StoreOptions:
    """A catalogue in a store.

    Args:
        kind: "qdrant" or "postgres".
        address: of the store.
        name: of the catalogue.
    """

    kind: str
    address: str
    name: str


def read_store(
    store: str | None, address: str | None, name: str | None, has_address: bool = True
) -> StoreOptions | None:
    """What `--store`, `--url` or `--dsn`, and `--name` say; None for an index of files.

    Args:
        store: "faiss", "qdrant", "postgres" or "pgvector", or an address.
        address: of the store; default what the environment says.
        name: of the catalogue.
        has_address: whether the command has options for an address.

    Raises:
        UserError: no kind of store, no address or no name, one that is not needed, or a password that others can read.
    """
    if store in (None, "faiss"):
        for option, given in (("--url or --dsn", address), ("--name", name)):
            if given is not None:
                raise UserError(f"{option} belongs to a store: add --store qdrant or --store postgres")
        return None
    assert store is not None
    if store not in _KINDS:
        if address is not None:
            raise UserError(
                f"--store is faiss, qdrant or postgres, or an address without --url and --dsn; got '{store}'"
            )
        kind = kind_of(store)
        address, place = store, "--store"
    else:
        kind, place = _KINDS[store], "--dsn" if _KINDS[store] == "postgres" else "--url"
        if address is None and (address := os.environ.get(ADDRESS)):
            place = ADDRESS
        if not address:
            option = f"{place} ADDRESS, or" if has_address else "an address in its place, or in"
            raise UserError(f"--store {store} needs {option} {ADDRESS}")
        if re.match(r"\w+://", address) and kind_of(address) != kind:
            raise UserError(f"'{shown(address)}' is no address of {store}")
    if place != ADDRESS:
        _check_no_password(address, kind)
    if not name:
        raise UserError("a store needs --name NAME, of the catalogue: of small letters, digits and underscores")
    return StoreOptions(kind, address.removeprefix("qdrant:"), name)


def kind_of(address: str) -> str:
    """The store that lies at an address.

    Raises:
        UserError: none that is known.
    """
    scheme = address.partition(":")[0]
    if scheme in ("postgres", "postgresql"):
        return "postgres"
    if scheme in ("http", "https", "qdrant"):
        return "qdrant"
    raise UserError(
        "--store is faiss, qdrant or postgres, or an address: postgresql://… of PostgreSQL, http://… or https://… of "
        f"Qdrant, or qdrant:FOLDER; got '{shown(address)}'"
    )


def shown(address: str) -> str:
    """An address without what stands before its host."""
    return re.sub(r"//[^@/]*@", "//…@", re.sub(r"(password=)\S+", r"\1…", address))[:120]


def _check_no_password(address: str, kind: str) -> None:
    parts = urlsplit(address) if "://" in address else None
    inside = parts is not None and (parts.password or parse_qs(parts.query).get("password"))
    if inside or re.search(r"\bpassword\s*=\s*[^\s&]", address):
        remedy = "PGPASSWORD" if kind == "postgres" else "QDRANT_API_KEY"
        raise UserError(
            f"the address has a password, which everybody on this machine can read in the list of processes: leave it "
            f"out and put it into {remedy}, or the whole address into {ADDRESS}"
        )

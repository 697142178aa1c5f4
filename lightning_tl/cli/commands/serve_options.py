"""What stands on the command line of `serve`: read before anything heavy is imported."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lightning_tl.cli.commands.store_options import StoreOptions, read_store
from lightning_tl.cli.errors import UserError, nearest
from lightning_tl.cli.options import Reader
from lightning_tl.cli.program import program

TOKEN = "LIGHTNING_TL_TOKEN"
ADMIN_TOKEN = "LIGHTNING_TL_ADMIN_TOKEN"

_HELP = """\
usage: {program} serve --run RUN | --bundle FOLDER [--port 8000] [--OPTION=VALUE …]

Answers over HTTP with what a run has learned: classes of images and texts, embeddings, recommendations. With a page for
people at /, and a description for programs at /openapi.json. SIGTERM and Ctrl-C end it once what was taken is answered;
SIGHUP reads the models' files anew.

options:
  --run [NAME=]RUN        folder of a finished run; its bundle is RUN/bundle, which is made where there is none of the
                          run's own weights
  --bundle [NAME=]FOLDER  a bundle that `export` wrote. Both options may stand several times, with names that differ:
                          paths are then /NAME/classify and so on
  --store ADDRESS         search the items of the one model there in place of its own index: postgresql://… of a
                          PostgreSQL, https://… of a Qdrant, or qdrant:FOLDER; what `index build --store` filled
  --name NAME             of the catalogue in the store
  --host ADDRESS          where to listen; default 127.0.0.1, which this machine alone reaches
  --port N                default 8000; 0 for any that is free
  --threads N             processor threads of one answer of one model; default 1
  --max_batch N           most samples that are computed at once; default 16
  --max_wait_ms N         longest wait for other requests that are on their way; default 2
  --queue N               most samples that wait for one model, more get 503; default 500
  --deadline_s N          a request that takes longer gets 504; default 10
  --max_body_mb N         most MB of a request; default 10
  --max_held_mb N         most MB of all requests that are being read; default 256
  --max_pixels N          most pixels of an image; default 50,000,000
  --max_characters N      most characters of a text; default 100,000
  --max_samples N         most images or texts of a request; default 64
  --max_k N               most items of a recommendation; default 1,000
  --preparers N           threads that read images and texts; default 2
  --traceback             show where an error comes from

environment:
  LIGHTNING_TL_TOKEN        what requests must bring as `Authorization: Bearer TOKEN`; everybody may ask without it
  PGPASSWORD, QDRANT_API_KEY  what the store asks for; LIGHTNING_TL_STORE is an address for `--store postgres`
  LIGHTNING_TL_ADMIN_TOKEN  what `POST /admin/reload` must bring; closed without it"""

_WHOLE = ("max_batch", "queue", "max_pixels", "max_characters", "max_samples", "max_k", "preparers")
_NUMBERS = ("max_wait_ms", "deadline_s", "max_body_mb", "max_held_mb")


@dataclass(frozen=True)
class ServeOptions:
    """What was asked for.

    Args:
        runs: folders of runs by the models' names.
        bundles: folders of bundles by the models' names.
        host: name or address.
        port: 0 for any.
        threads: of one answer.
        settings: fields of `ServiceSettings` that are no default.
        store: where the items of the model are searched; None for its own index.
    """

    runs: Mapping[str, Path]
    bundles: Mapping[str, Path]
    host: str = "127.0.0.1"
    port: int = 8000
    threads: int = 1
    settings: Mapping[str, Any] = field(default_factory=dict)
    store: StoreOptions | None = None


def serve_help() -> str:
    """What `lightning-tl serve --help` prints."""
    return _HELP.format(program=program())


def read_serve_options(argv: Sequence[str]) -> ServeOptions:
    """Sort out what is to be served, and how.

    Args:
        argv: the command line without the program's name and without `serve`.

    Raises:
        UserError: nothing to serve, two models of one name, an unknown option, or a number out of range.
    """
    reader = Reader(add_help=False, allow_abbrev=False)
    for name in ("run", "bundle"):
        reader.add_argument(f"--{name}", action="append", default=[])
    reader.add_argument("--store")
    reader.add_argument("--name")
    reader.add_argument("--host", default="127.0.0.1")
    reader.add_argument("--port", type=_number(int), default=8000)
    reader.add_argument("--threads", type=_number(int), default=1)
    for name in _WHOLE:
        reader.add_argument(f"--{name}", type=_number(int))
    for name in _NUMBERS:
        reader.add_argument(f"--{name}", type=_number(float))
    known, rest = reader.parse_known_args(list(argv))
    if rest:
        options = [
            f"--{name}" for name in ("run", "bundle", "store", "name", "host", "port", "threads", *_WHOLE, *_NUMBERS)
        ]
        word = rest[0].split("=")[0]
        raise UserError(f"serve has no option '{word}'{nearest(word, options)}; `{program()} serve --help` lists them")
    if not known.run and not known.bundle:
        raise UserError("serve needs --run RUN_FOLDER, a finished run, or --bundle FOLDER, what `export` wrote")
    if not 0 <= known.port <= 65_535:
        raise UserError(f"port must be from 0 to 65535, got {known.port}")
    if known.threads < 1:
        raise UserError(f"threads must be at least 1, got {known.threads}")
    settings = {name: value for name in (*_WHOLE, *_NUMBERS) if (value := getattr(known, name)) is not None}
    models: dict[str, Path] = {}
    runs, bundles = _named(known.run, models), _named(known.bundle, models)
    store = read_store(known.store, None, known.name, has_address=False)
    if store is not None and len(models) != 1:
        raise UserError(f"--store is for one model, and {len(models)} are served: start a service for each")
    return ServeOptions(runs, bundles, known.host, known.port, known.threads, settings, store)


def _number(kind: Callable[[str], Any]) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        try:
            return kind(text)
        except ValueError:
            whole = "whole " if kind is int else ""
            raise argparse.ArgumentTypeError(f"must be a {whole}number, got '{text}'") from None

    return read


def _named(given: Sequence[str], taken: dict[str, Path]) -> dict[str, Path]:
    """Folders by name; without a name it is that of the folder, of a bundle within a run that of the run."""
    found = {}
    for text in given:
        name, equals, folder = text.partition("=")
        if not equals or "/" in name:
            name, folder = "", text
        if not folder:
            raise UserError(f"'{text}' names no folder: give NAME=FOLDER, or a folder")
        path = Path(folder).expanduser().absolute()
        own = path.parent.name if path.name == "bundle" and (path.parent / "config.yaml").is_file() else path.name
        name = name or own
        if name in taken:
            raise UserError(f"two models are called '{name}': tell them apart by NAME=FOLDER")
        taken[name] = found[name] = path
    return found

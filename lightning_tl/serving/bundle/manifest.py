"""`Manifest`: what a bundle holds, with a hash of every file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

FILE, FORMAT = "bundle.json", 1


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The account of a bundle that whoever opens it goes by.

    Args:
        kind: "images", "texts" or "pairs".
        task: "one label", "several labels" or "values".
        class_names: what each output stands for, in order.
        reads: what the graph is fed: fields of an `ImageSpec`, with `value_range`; or of a text's tokens `max_length`,
            `padding`, `segments`, `prompt`.
        activation: what makes probabilities of the graph's outputs: "softmax", "sigmoid" or "none".
        temperature: by which outputs are divided before; None where none was fitted.
        card: where the model came from, and what it scored.
        versions: of the packages that wrote the bundle.
        sha256: of each other file, by its path in the folder.
    """

    kind: str
    task: str
    class_names: tuple[str, ...]
    reads: Mapping[str, Any]
    activation: str
    temperature: float | None = None
    card: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    sha256: Mapping[str, str] = field(default_factory=dict)

    @property
    def version(self) -> str:
        """Hash of everything that answers depend on."""
        told = {name: value for name, value in asdict(self).items() if name not in ("card", "versions")}
        told["sha256"] = {name: value for name, value in self.sha256.items() if not name.endswith(".md")}
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()

    def text(self) -> str:
        """The content of `bundle.json`."""
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """The manifest of a bundle, whose files are all there and as they were written.

        Raises:
            FileNotFoundError: the folder is no bundle, or a file of it is missing.
            ValueError: the manifest is damaged or of a later version, or a file was changed.
        """
        path = folder / FILE
        if not path.is_file():
            raise FileNotFoundError(
                f"{folder} is no bundle: it has no {FILE}; make one with: lightning-tl export --run RUN_FOLDER"
            )
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            version = found.pop("format")
            if version != FORMAT:
                raise ValueError(
                    f"{path} has format {version}, and this version of lightning_tl reads {FORMAT}: export the run "
                    "again, or install the version that made it"
                )
            manifest = cls(**{**found, "class_names": tuple(found["class_names"])})
        except (KeyError, TypeError, AttributeError, UnicodeDecodeError, json.JSONDecodeError) as error:
            known = ", ".join(one.name for one in fields(cls))
            raise ValueError(f"{path} is damaged ({error or type(error).__name__}); it should have {known}") from None
        manifest._check_files(folder)
        return manifest

    def _check_files(self, folder: Path) -> None:
        for name, expected in self.sha256.items():
            path = folder / name
            if not path.resolve().is_relative_to(folder.resolve()):
                raise ValueError(f"{folder / FILE} names {name}, which lies outside the bundle")
            if not path.is_file():
                raise FileNotFoundError(f"the bundle in {folder} lacks {name}: copy it whole, or export the run again")
            if file_sha256(path) != expected:
                raise ValueError(
                    f"{path} is not what was written with the bundle: copy it whole, or export the run again"
                )


def file_sha256(path: Path) -> str:
    """SHA-256 of a file: 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

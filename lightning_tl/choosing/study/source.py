"""`Source`: labelled samples of what the backbone knew before, on which a study measures what its runs left."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning_tl.choosing.study.processes import Job
from lightning_tl.choosing.study.study_folder import StudyFolder
from lightning_tl.storage.partial_file import write_whole


@dataclass(frozen=True)
class Source:
    """Where the samples lie, and how they are read.

    Args:
        place: as `forget` takes it: a folder, a table, or `shipped`.
        fields: of the data module that reads it, as on a command line: `--data.label=topic`.
    """

    place: str
    fields: tuple[str, ...] = ()

    def job(self, folder: StudyFolder, run: Path, key: str) -> Job:
        """What measures one run; features that several runs share are computed once.

        Args:
            folder: of the study.
            run: its folder.
            key: of the run.
        """
        features, output = folder.path / "forgetting" / "features", self.kept(folder, key)
        output.parent.mkdir(parents=True, exist_ok=True)
        where = ["--run", str(run), "--source", self.place, "--output", str(output), "--features", str(features)]
        return Job(["forget", *where, *self.fields], folder.log(f"forgetting/{self.digest}/{key}"))

    def kept(self, folder: StudyFolder, key: str) -> Path:
        """The file with what was found of a run.

        Args:
            folder: of the study.
            key: of the run.
        """
        return folder.path / "forgetting" / self.digest / f"{key}.json"

    @property
    def digest(self) -> str:
        """What tells it from other sources."""
        return hashlib.sha256(json.dumps(self.as_json()).encode()).hexdigest()[:12]

    def as_json(self) -> dict[str, Any]:
        """Everything, as JSON has it."""
        return {"place": self.place, "fields": list(self.fields)}

    def note(self, folder: StudyFolder) -> None:
        """Let later reports of the study speak of this source."""
        path = _noted(folder)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(self.as_json(), indent=2) + "\n")

    @classmethod
    def noted(cls, folder: StudyFolder) -> Source | None:
        """The source that the study was asked about last; None where it was asked about none."""
        path = _noted(folder)
        if not path.is_file():
            return None
        found = json.loads(path.read_text(encoding="utf-8"))
        return cls(found["place"], tuple(found["fields"]))


def _noted(folder: StudyFolder) -> Path:
    return folder.path / "forgetting" / "source.json"

"""`RunDescription`: what a run learned and from what, written at training and read by everything after."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from lightning_tl.contracts.batches import ImageSpec, TextSpec
from lightning_tl.storage.partial_file import write_whole

FILE = "run.json"
FORMAT = 1


@runtime_checkable
class DescribedData(Protocol):
    """A data module that can say what a run reads."""

    def describe(self) -> dict[str, Any]:
        """Values for fields of `RunDescription` that the data decide, once `setup` has run."""
        ...


@runtime_checkable
class DescribedModule(Protocol):
    """A module that can say what its outputs are."""

    def describe(self) -> dict[str, Any]:
        """Values for fields of `RunDescription` that the module decides, once it is set up."""
        ...


@runtime_checkable
class DataOfARun(Protocol):
    """A data module that can read samples for the model of a finished run."""

    def read_for(self, run: RunDescription, whole: bool = False) -> None:
        """From now on samples are read for this run's model.

        Args:
            run: whose model will read the samples.
            whole: the data are not those of the run, so that all of them may be read.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class RunDescription:
    """The one account of a run that `predict`, `test`, `validate`, `embed`, `recommend` and `--resume` go by.

    None of them works out again from data what the model's outputs mean: the training data may have changed since,
    or be gone.

    Args:
        task: "one label", "several labels", "values", "retrieval", …; None where the module says nothing of it.
        class_names: what each output stands for, in order.
        input: what the model reads, the fields of an `ImageSpec` or `TextSpec`.
        targets: of values, the `mean` and `std` of each in training, by which the model's outputs are scaled.
        columns: which columns of a table, or which folder, were read as what.
        splits: for each split its `samples`, how many of each of its `classes`, and a `sha256` of what they are; of an
            event log also of how many `users` they are.
        dropped: how many samples were left out, by reason.
        cut: texts that are longer than the model reads.
        data: class and fingerprint of what was trained on.
        model: class of the module, and name and hash of the pretrained weights that stayed as they were.
        versions: of Python and of packages.
        calibration: the `temperature` that was fitted on `samples` of validation, and the name of the `checkpoint`
            that it belongs to; or `why` there is none.
    """

    task: str | None = None
    class_names: tuple[str, ...] = ()
    input: dict[str, Any] = field(default_factory=dict)
    targets: dict[str, list[float]] = field(default_factory=dict)
    columns: dict[str, Any] = field(default_factory=dict)
    splits: dict[str, dict[str, Any]] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)
    cut: int = 0
    data: dict[str, Any] = field(default_factory=dict)
    model: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    calibration: dict[str, Any] = field(default_factory=dict)

    @property
    def image_spec(self) -> ImageSpec | None:
        """What images are turned into; None where the model reads none."""
        given = self.input
        if given.get("kind") != "images":
            return None
        values = tuple(given["mean"]), tuple(given["std"]), tuple(given.get("bands", ()))
        return ImageSpec(int(given["image_size"]), int(given["channels"]), *values)

    @property
    def resizes_floats(self) -> bool:
        """Whether images of 8 bits are brought to the model's size as floats, as those that lie in memory are."""
        return self.input.get("resize") == "floats"

    def write(self, folder: Path) -> None:
        """Write `run.json` into a run folder; a reader never sees half of it."""
        folder.mkdir(parents=True, exist_ok=True)
        content = {"format": FORMAT, **asdict(self)}
        write_whole(folder / FILE, json.dumps(content, indent=2, ensure_ascii=False) + "\n")

    @classmethod
    def read(cls, folder: Path) -> RunDescription | None:
        """The description in a run folder; None where there is none, as in folders of earlier versions.

        Raises:
            ValueError: it is damaged, or of a later version.
        """
        file = folder / FILE
        if not file.is_file():
            return _of_predictions(folder)
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            written = int(content.pop("format"))
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise ValueError(f"{file} is damaged ({error}), so it is not known what the run's model says") from None
        if written > FORMAT:
            raise ValueError(f"{file} is of format {written}; this version reads formats up to {FORMAT}: update it")
        known = {each.name for each in fields(cls)}
        content = {name: value for name, value in content.items() if name in known}
        if wrong := [name for name, value in content.items() if not _fits(name, value)]:
            raise ValueError(f"{file} is damaged ({', '.join(wrong)}), so it is not known what the run's model says")
        return cls(**{**content, "class_names": tuple(content.get("class_names", ()))})


def _fits(name: str, value: Any) -> bool:
    """Whether a value from a file is of the kind that a field of `RunDescription` holds."""
    if name == "task":
        return value is None or isinstance(value, str)
    if name == "class_names":
        texts = isinstance(value, list) and all(isinstance(each, str) for each in value)
        return texts and len(set(value)) == len(value)
    if name == "cut":
        return isinstance(value, int)
    parts = value.values() if isinstance(value, dict) and name == "splits" else ()
    return isinstance(value, dict) and all(isinstance(part, dict) for part in parts)


def _of_predictions(folder: Path) -> RunDescription | None:
    """What an earlier version's run folder tells: the class names beside its test's predictions."""
    file = folder / "predictions" / "test.parquet"
    if not file.is_file():
        return None
    import pyarrow.parquet as pq

    names = json.loads((pq.read_schema(file).metadata or {}).get(b"class_names", b"[]"))
    return RunDescription(class_names=tuple(names)) if names else None


def input_fields(spec: object) -> dict[str, Any]:
    """A backbone's `input_spec` as JSON values."""
    if isinstance(spec, ImageSpec):
        told = {"kind": "images", **asdict(spec), "mean": list(spec.mean), "std": list(spec.std)}
        bands = told.pop("bands")
        return {**told, "bands": list(bands)} if bands else told
    if isinstance(spec, TextSpec):
        return {"kind": "texts", **asdict(spec)}
    return {}


def class_places(found: Sequence[str], run: Mapping[str, int] | Sequence[str], where: str) -> list[int]:
    """The number that the run's model has for each of these classes, by name.

    Args:
        found: names of classes that occur in some data.
        run: the run's class names, in order.
        where: the data, for messages.

    Raises:
        ValueError: the model does not know one, naming all of them.
    """
    names = list(run)
    unknown = [name for name in found if name not in names]
    if unknown:
        some = ", ".join(f"'{name}'" for name in unknown[:10]) + (", …" if len(unknown) > 10 else "")
        known = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
        raise ValueError(
            f"{where} has {'a class' if len(unknown) == 1 else 'classes'} that the run's model does not know: {some}; "
            f"it knows {known}. Rename or leave out those samples, or train a run that knows them"
        )
    return [names.index(name) for name in found]

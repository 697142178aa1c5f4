"""`Thumbnails`: small pictures of a bundle's items, in one file that is mapped into memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path

import pyarrow as pa

FILE = "thumbnails.arrow"
_SCHEMA = pa.schema({"item": pa.string(), "picture": pa.binary()})
_AT_ONCE = 1_024  # rows of a part of the file


def write_thumbnails(folder: Path, pictures: Iterable[tuple[str, bytes]]) -> int:
    """Write `thumbnails.arrow`, and say how many there are.

    Args:
        folder: of the bundle.
        pictures: ids of items, each with an image file, see `thumbnail`; read as they are written.
    """
    left, count = iter(pictures), 0
    with pa.OSFile(str(folder / FILE), "wb") as file, pa.ipc.new_file(file, _SCHEMA) as writer:
        while rows := list(islice(left, _AT_ONCE)):
            columns = [
                pa.array([name for name, _ in rows], pa.string()),
                pa.array([made for _, made in rows], pa.binary()),
            ]
            writer.write_batch(pa.record_batch(columns, schema=_SCHEMA))
            count += len(rows)
    return count


class Thumbnails(Mapping[str, bytes]):
    """By an item's id an image file; there are none where the folder has no such file.

    Only ids are held: pictures stay on disk until they are asked for. No path is made of an id.

    Args:
        folder: of the bundle.

    Raises:
        ValueError: the file is damaged.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / FILE
        self._rows: dict[str, int] = {}
        if not path.is_file():
            return
        try:
            with pa.memory_map(str(path)) as file:  # what was read of it keeps it mapped
                table = pa.ipc.open_file(file).read_all()
            self._rows = {name: row for row, name in enumerate(table.column("item").to_pylist())}
            self._pictures = table.column("picture")
        except (pa.ArrowException, KeyError, OSError) as error:
            raise ValueError(f"{path} cannot be read ({error}): export the bundle again") from None

    def __getitem__(self, item: str) -> bytes:
        found: bytes = self._pictures[self._rows[item]].as_py()
        return found

    def __contains__(self, item: object) -> bool:
        return item in self._rows

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

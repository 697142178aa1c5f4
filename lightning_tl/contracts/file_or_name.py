"""`FileOrName`: the type of a field that takes a path, or a name from a hub."""

from __future__ import annotations

from typing import Annotated

FileOrName = Annotated[str, "file or name"]
"""A path where one of that name exists, else a name. A run's configuration keeps the path whole, so that the run can be
opened from another folder."""

"""Fields of the report of another task, which would have no effect."""

from __future__ import annotations

from typing import Any

from lightning_tl.cli.errors import UserError


def check_other_report(given: Any, usual: Any, other: str, own: str | None, model: str) -> None:
    """Refuse them, as every option without effect is.

    Args:
        given: the other report's fields.
        usual: their defaults.
        other: the name of that report.
        own: the name of the report that the run has; None where it has none.
        model: the class of the run's model.

    Raises:
        UserError: naming the first field that was changed.
    """
    defaults = usual.as_dict()
    changed = [name for name, value in given.as_dict().items() if _listed(value) != _listed(defaults.get(name))]
    if changed:
        why = f"{model} is reported on by {own}" if own else f"there is no report on {model}"
        raise UserError(f"{other}.{changed[0]} has no effect: {why}; leave it out")


def _listed(value: Any) -> Any:
    """A list where the default is a tuple: so they come back from the file of a run that is resumed."""
    return list(value) if isinstance(value, tuple) else value

"""`ReportedModule`: what a module tells the command line of its kind of run."""

from __future__ import annotations

from typing import ClassVar, Protocol, runtime_checkable

from lightning_tl.contracts.run_description import RunDescription


@runtime_checkable
class ReportedModule(Protocol):
    """A module whose runs end in a report.

    Attributes:
        report: which of the command line's fields holds the callback that makes it.
        next_command: what to do with a finished run, with `{run}` where its folder goes.
        can_predict: whether `predict` serves it; else `next_command` names what does.
    """

    report: ClassVar[str]
    next_command: ClassVar[str]
    can_predict: ClassVar[bool]


@runtime_checkable
class AnswersUntrained(Protocol):
    """A module that predicts as it is built."""

    def description(self) -> RunDescription:
        """The account of a run that needs no training, and so no data to learn classes from.

        Raises:
            ValueError: it is not known which classes there are.
        """
        ...

"""`NotedArguments`: a module remembers with which arguments it was built."""

from __future__ import annotations

from typing import Any

from lightning_tl.training.built_from import arguments_of, given_arguments


class NotedArguments:
    """Keeps the constructor's arguments by name in `_given`, whatever a subclass makes of them.

    A base of its own: the command line reads a class by its own `__new__` where it has one, and would find no
    options of the constructor beside it.
    """

    _given: dict[str, Any] | None = None

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """Note the arguments, and build as usual."""
        module = super().__new__(cls)
        if args or kwargs:  # else a copy is being made
            object.__setattr__(module, "_given", given_arguments(cls, args, kwargs))
        return module

    @classmethod
    def load_from_checkpoint(cls, checkpoint_path: Any, *args: Any, **kwargs: Any) -> Any:
        """As Lightning's; what is not given is built as it was, where the checkpoint can say how.

        Raises:
            ValueError: naming the arguments that have to be given.
        """
        built = arguments_of(checkpoint_path, kwargs, cls.__name__)
        return super().load_from_checkpoint(checkpoint_path, *args, **built)  # type: ignore[misc]

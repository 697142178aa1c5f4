"""`Readiness`: whether what the models depend on answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

from lightning_tl.serving.answering import Dependent
from lightning_tl.serving.service.served_model import ServedModel

_KEPT_S = 1.0  # that an answer is given again to whoever asks meanwhile


class Readiness:
    """Asks models that depend on something else, such as a store, whether it is there.

    Args:
        models: by name.
    """

    def __init__(self, models: Mapping[str, ServedModel]) -> None:
        self.models = models
        self._alone = asyncio.Lock()
        self._told, self._at = "", float("-inf")

    async def trouble(self) -> str:
        """What does not answer, and why; empty where nothing is wrong. Those who ask at a time ask once."""
        async with self._alone:
            if time.monotonic() - self._at > _KEPT_S:
                told = [await self._of(served) for served in self.models.values()]
                self._told, self._at = "; ".join(one for one in told if one), time.monotonic()
            return self._told

    async def _of(self, served: ServedModel) -> str:
        model = served.now.model
        told = await asyncio.to_thread(model.trouble) if isinstance(model, Dependent) else ""
        return f"{served.name}: {told}" if told else ""

"""A model that can be exchanged while it answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np

from lightning_tl.serving.answering import BadInputError, PredictingModel, RecommendingModel
from lightning_tl.serving.service.batcher import Batcher
from lightning_tl.serving.service.probe import probe
from lightning_tl.serving.service.settings import ServiceSettings

Model = PredictingModel | RecommendingModel


class Generation:
    """One opened model with its queue; a request that began with it ends with it.

    Args:
        model: what answers.
        settings: limits.
        on_batch: told the size of each batch.
    """

    def __init__(self, model: Model, settings: ServiceSettings, on_batch: Callable[[int], None]) -> None:
        self.model, self.facts = model, model.facts
        self.batcher = Batcher(
            self._compute,
            max_batch=settings.max_batch,
            max_wait_s=settings.max_wait_ms / 1_000,
            queue=settings.queue,
            on_batch=on_batch,
        )
        self.requests = 0
        self.retired = False

    def _compute(self, samples: list[Any]) -> Sequence[Any]:
        """Pairs of [outputs] and [dim] for prepared samples, or what is recommended for wishes."""
        if isinstance(self.model, RecommendingModel):
            return self.model.recommend(samples)
        found = self.model.predict(samples)
        finite = np.isfinite(found.outputs).all(axis=-1) & np.isfinite(found.features).all(axis=-1)
        answers: list[Any] = list(zip(found.outputs, found.features, strict=True))
        for place in np.flatnonzero(~finite):
            answers[place] = BadInputError("the model gives no finite number for this input: check its values")
        return answers


class ServedModel:
    """A name, the model that answers by it now, and how to open it anew.

    Args:
        name: as in paths and answers.
        open_model: opens what lies on disk now.
        settings: limits.
        on_batch: told the name and the size of each batch.

    Raises:
        ValueError, OSError: it cannot be opened, or gives no answer.
    """

    def __init__(
        self,
        name: str,
        open_model: Callable[[], Model],
        settings: ServiceSettings,
        on_batch: Callable[[str, int], None] = lambda name, size: None,
    ) -> None:
        self.name, self.settings = name, settings
        self._open_model = open_model
        self._on_batch = lambda size: on_batch(name, size)
        self._opener = ThreadPoolExecutor(1, thread_name_prefix=f"open {name}")
        self._reloading = False
        self.now = Generation(self._opened(), settings, self._on_batch)

    def _opened(self) -> Model:
        model = self._open_model()
        probe(model)
        return model

    @contextmanager
    def use(self) -> Iterator[Generation]:
        """The generation that answers a request from its beginning to its end."""
        generation = self.now
        generation.requests += 1
        try:
            yield generation
        finally:
            generation.requests -= 1
            if generation.retired and not generation.requests:
                self._end(generation)

    async def reload(self) -> tuple[str, str]:
        """Open what lies on disk now, let it answer once, and put it in place of what answers so far.

        Returns:
            versions before and after.

        Raises:
            ValueError, OSError: it cannot be opened, gives no answer, or reads something else; the old one goes on.
            RuntimeError: it is being reloaded already.
        """
        if self._reloading:
            raise RuntimeError(f"{self.name} is being reloaded already")
        self._reloading = True
        try:
            model = await asyncio.get_running_loop().run_in_executor(self._opener, self._opened)
            old = self.now
            if model.facts.kind != old.facts.kind:
                raise ValueError(
                    f"{self.name} answers about {old.facts.kind}, and what lies there now is about "
                    f"{model.facts.kind}: start another service for it"
                )
            self.now = Generation(model, self.settings, self._on_batch)
            old.retired = True
            if not old.requests:
                self._end(old)
            return old.facts.version, model.facts.version
        finally:
            self._reloading = False

    def _end(self, generation: Generation) -> None:
        """Its thread ends; nobody waits for it."""
        self._opener.submit(generation.batcher.close)

    def close(self) -> None:
        """Compute what waits, then end."""
        self.now.batcher.close()
        self._opener.shutdown()


async def answers_of(futures: Sequence[Future[Any]]) -> list[Any]:
    """What the model says, in order; the first error where there is one."""
    return list(await asyncio.gather(*(asyncio.wrap_future(future) for future in futures)))

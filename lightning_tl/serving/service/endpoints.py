"""What is answered to whom asks a model: reads a request, lets the model compute, writes the answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from PIL import UnidentifiedImageError
from starlette.requests import Request
from starlette.responses import Response

from lightning_tl.inputs.thumbnail import MEDIA_TYPE
from lightning_tl.serving.answering import (
    BadInputError,
    ModelFacts,
    PredictingModel,
    RecommendingModel,
    Wish,
)
from lightning_tl.serving.service.bodies import Bodies, media_type, read_files, read_object
from lightning_tl.serving.service.forms import (
    BoostAsked,
    Classified,
    Embedded,
    PairsAsked,
    Prediction,
    RecommendedItems,
    Span,
    TextsAsked,
    WishAsked,
    fill,
    unknown_field,
)
from lightning_tl.serving.service.pictures import check_picture
from lightning_tl.serving.service.served_model import Generation, ServedModel, answers_of
from lightning_tl.serving.service.settings import ServiceSettings
from lightning_tl.serving.service.shown_items import picture_of, shown_items

_UNREADABLE = (ValueError, OSError, SyntaxError, EOFError)  # what Pillow raises on broken files
_KEPT = {"cache-control": "private, max-age=300", "x-content-type-options": "nosniff"}  # a refresh is seen in minutes


class Answers:
    """Answers about any model.

    Args:
        settings: limits.
    """

    def __init__(self, settings: ServiceSettings) -> None:
        self.settings = settings
        self.bodies = Bodies(settings)
        self._preparers = ThreadPoolExecutor(settings.preparers, thread_name_prefix="prepare")

    async def classify(self, request: Request, served: ServedModel) -> Classified:
        """Classes with probabilities, or values."""
        facts, found = await self._predicted(request, served)
        predictions = [_prediction(facts, outputs.tolist()) for outputs, _ in found]
        return Classified(model=served.name, version=facts.version, task=facts.task, predictions=predictions)

    async def embed(self, request: Request, served: ServedModel) -> Embedded:
        """Features of the backbone."""
        facts, found = await self._predicted(request, served)
        rows = [features.tolist() for _, features in found]
        return Embedded(model=served.name, version=facts.version, dim=len(rows[0]), embeddings=rows)

    async def recommend(self, request: Request, served: ServedModel) -> RecommendedItems:
        """Items for a user, a history or a profile."""
        known_parameters(request, ())
        with served.use() as generation:
            deadline = self._deadline()
            with generation.batcher.announce() as announced:
                async with self.bodies.read(request) as body:
                    _json_only(request)
                    wish = self._wish(fill(WishAsked, read_object(body)))
                futures = announced.put([wish], deadline)
            async with _until(deadline):
                (found,) = await answers_of(futures)
            return shown_items(served.name, generation.model, found)

    async def similar(self, request: Request, served: ServedModel) -> RecommendedItems:
        """The items nearest to one."""
        known_parameters(request, ("k",))
        k = self._k(_whole_number("k", request.query_params.get("k", "20")))
        with served.use() as generation, generation.batcher.announce():
            assert isinstance(generation.model, RecommendingModel)
            work = asyncio.get_running_loop().run_in_executor(
                self._preparers, generation.model.similar, request.path_params["item"], k
            )
            async with asyncio.timeout(self.settings.deadline_s):
                return shown_items(served.name, generation.model, await work)

    async def picture(self, request: Request, served: ServedModel) -> Response:
        """A small picture of an item."""
        known_parameters(request, ())
        with served.use() as generation:
            item = request.path_params["item"]
            work = asyncio.get_running_loop().run_in_executor(self._preparers, picture_of, generation.model, item)
            async with asyncio.timeout(self.settings.deadline_s):
                return Response(await work, media_type=MEDIA_TYPE, headers=_KEPT)

    async def _predicted(self, request: Request, served: ServedModel) -> tuple[ModelFacts, list[Any]]:
        """Pairs of [outputs] and [dim], in the order of the samples."""
        known_parameters(request, ())
        with served.use() as generation:
            deadline = self._deadline()
            with generation.batcher.announce() as announced:
                async with self.bodies.read(request) as body, _until(deadline):
                    raws = await self._raws(request, generation.facts, body)
                    del body
                    prepared = await asyncio.get_running_loop().run_in_executor(
                        self._preparers, self._prepared, generation, raws
                    )
                futures = announced.put(prepared, deadline)
            async with _until(deadline):
                return generation.facts, await answers_of(futures)

    async def _raws(self, request: Request, facts: ModelFacts, body: bytes) -> Sequence[bytes | str | tuple[str, str]]:
        if facts.kind == "images":
            kind = media_type(request)
            if kind == "multipart/form-data":
                return await read_files(request, body, self.settings.max_samples)
            if not kind.startswith("image/") and kind != "application/octet-stream":
                raise BadInputError(
                    f"this model reads images: send the bytes of one with a content type such as image/png, or files "
                    f"as multipart/form-data; got {kind or 'no content type'}",
                    415,
                )
            return [body]
        _json_only(request)
        found = read_object(body)
        if facts.kind == "pairs":
            if {"text", "texts"} & set(found):
                raise BadInputError('this model reads pairs of texts: send {"pairs": [[first, second], …]}')
            pairs = [(first, second) for first, second in fill(PairsAsked, found).pairs]
            self._check_texts("pairs", len(pairs), (text for pair in pairs for text in pair))
            return pairs
        if "pairs" in found:
            raise BadInputError('this model reads single texts: send {"text": …} or {"texts": […]}')
        asked = fill(TextsAsked, found)
        if (asked.text is None) == (asked.texts is None):
            raise BadInputError('give either {"text": …} or {"texts": […]}')
        texts = asked.texts if asked.texts is not None else [asked.text or ""]
        self._check_texts("texts", len(texts), texts)
        return texts

    def _check_texts(self, what: str, samples: int, texts: Iterable[str]) -> None:
        if samples > self.settings.max_samples:
            raise BadInputError(f"a request may have {self.settings.max_samples} {what}, this one has {samples:,}")
        for text in texts:
            if len(text) > self.settings.max_characters:
                raise BadInputError(
                    f"a text may have {self.settings.max_characters:,} characters, this one has {len(text):,}"
                )
            if not text.strip():
                raise BadInputError("a text is empty, or blank: there is nothing to read")

    def _prepared(self, generation: Generation, raws: Sequence[bytes | str | tuple[str, str]]) -> list[Any]:
        """Each sample as the model reads it; runs in a thread."""
        assert isinstance(generation.model, PredictingModel)
        prepared = []
        for place, raw in enumerate(raws, 1):
            which = f"{generation.facts.kind.removesuffix('s')} {place} of {len(raws)}: " if len(raws) > 1 else ""
            try:
                if isinstance(raw, bytes):
                    check_picture(raw, self.settings.max_pixels)
                prepared.append(generation.model.prepare(raw))
            except BadInputError as error:
                raise BadInputError(f"{which}{error}", error.status) from None
            except UnidentifiedImageError:
                raise BadInputError(f"{which}it cannot be read: it is no image of a format that is known") from None
            except _UNREADABLE as error:
                raise BadInputError(f"{which}it cannot be read: {error}") from error
        return prepared

    def _wish(self, asked: WishAsked) -> Wish:
        if asked.user is None and asked.history is None and asked.profile is None:
            raise BadInputError("give user, history or profile, by which items are recommended")
        where = {
            column: value.model_dump(exclude_none=True) if isinstance(value, Span) else value
            for column, value in asked.where.items()
        }
        if empty := [column for column, value in where.items() if not value]:
            raise BadInputError(f'where: {empty[0]} allows nothing; give values, or {{"from": …, "to": …}}')
        return Wish(
            user=None if asked.user is None else str(asked.user),
            history=None if asked.history is None else tuple(map(str, asked.history)),
            profile=None if asked.profile is None else {name: str(value) for name, value in asked.profile.items()},
            k=self._k(asked.k),
            exclude=asked.exclude,
            allow=None if asked.allow is None else frozenset(map(str, asked.allow)),
            deny=frozenset(map(str, asked.deny)),
            where=where,
            diversity=asked.diversity,
            boost={
                column: how.model_dump() if isinstance(how, BoostAsked) else how for column, how in asked.boost.items()
            },
        )

    def _k(self, k: int) -> int:
        if not 1 <= k <= self.settings.max_k:
            raise BadInputError(f"k must be from 1 to {self.settings.max_k:,}, got {k}")
        return k

    def _deadline(self) -> float:
        return time.monotonic() + self.settings.deadline_s


def known_parameters(request: Request, known: Sequence[str]) -> None:
    """Refuse parameters of the address that nobody reads.

    Raises:
        BadInputError: there is one.
    """
    for name in request.query_params:
        if name not in known:
            raise BadInputError(unknown_field(name, list(known)))


def _until(deadline: float) -> asyncio.Timeout:
    """Give up at a time of `time.monotonic`; reading the body has a limit of its own, and its own status."""
    return asyncio.timeout(max(0.0, deadline - time.monotonic()))


def _whole_number(name: str, text: str) -> int:
    if not (text.isascii() and text.removeprefix("-").isdigit() and len(text) < 19):
        raise BadInputError(f"{name} must be a whole number, got '{text[:80]}'")
    return int(text)


def _json_only(request: Request) -> None:
    kind = media_type(request)
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        raise BadInputError(f"send JSON, with content type application/json; got {kind or 'no content type'}", 415)


def _prediction(facts: ModelFacts, outputs: list[float]) -> Prediction:
    named = dict(zip(facts.class_names, outputs, strict=True))
    if facts.task == "values":
        return Prediction(values=named)
    if facts.task == "several labels":
        return Prediction(labels=[name for name, share in named.items() if share >= 0.5], probabilities=named)
    return Prediction(label=max(named, key=named.__getitem__), probabilities=named)

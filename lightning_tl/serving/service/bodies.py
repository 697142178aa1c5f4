"""Bodies of requests: read up to a limit, and taken apart."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from pydantic_core import from_json
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.types import Message

from lightning_tl.serving.answering import BadInputError
from lightning_tl.serving.service.batcher import QueueFullError
from lightning_tl.serving.service.settings import ServiceSettings


class Bodies:
    """Reads bodies, counts what all of them hold, and gives it back.

    Args:
        settings: limits.
    """

    def __init__(self, settings: ServiceSettings) -> None:
        self.settings = settings
        self._held = 0

    @asynccontextmanager
    async def read(self, request: Request) -> AsyncIterator[bytes]:
        """The body, counted while it comes in, whatever its Content-Length says.

        Raises:
            BadInputError: 413, it is longer than a body may be; 408, it does not come within the deadline.
            QueueFullError: the bodies that are being read hold as much memory as they may.
        """
        most, parts, size = self.settings.body_bytes, [], 0
        said = request.headers.get("content-length", "0")
        if said.isdigit() and int(said) > most:
            raise self._too_long()
        try:
            try:
                async with asyncio.timeout(self.settings.deadline_s):
                    async for part in request.stream():
                        size += len(part)
                        self._held += len(part)
                        if size > most:
                            raise self._too_long()
                        if self._held > self.settings.held_bytes:
                            raise QueueFullError(1)
                        parts.append(part)
            except TimeoutError:
                said = f"the body did not arrive within {self.settings.deadline_s:g} s"
                raise BadInputError(f"{said}; {size:,} bytes of it did", 408) from None
            yield b"".join(parts)
        finally:
            self._held -= size

    def _too_long(self) -> BadInputError:
        return BadInputError(
            f"the body is longer than {self.settings.max_body_mb:g} MB, the most that is read: send less at a time, or "
            "start the service with another --max_body_mb",
            413,
        )


def media_type(request: Request) -> str:
    """The content type without its parameters, in lower case; empty where there is none."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def read_object(body: bytes) -> Mapping[str, Any]:
    """What stands in a JSON object.

    Raises:
        BadInputError: 400, it is not UTF-8, no JSON, no object, or holds a number that is not finite.
    """
    if not body.strip():
        raise BadInputError("the body is empty, a JSON object is needed", 400)
    try:
        body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadInputError(f"the body is not UTF-8: byte {error.start} is {body[error.start]:#04x}", 400) from None
    try:
        found = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise BadInputError(f"the body is no valid JSON: {error}", 400) from None
    if not isinstance(found, dict):
        raise BadInputError(f"the body must be a JSON object, got {_kind_of(found)}", 422)
    if not _is_finite(found):
        raise BadInputError("the body holds a number that is not finite", 422)
    return found


def _is_finite(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_is_finite(one) for one in value.values())
    if isinstance(value, list):
        return all(_is_finite(one) for one in value)
    return not isinstance(value, float) or math.isfinite(value)


def _kind_of(value: Any) -> str:
    kinds = {list: "a list", str: "a string", bool: "true or false", int: "a number", float: "a number"}
    return kinds.get(type(value), "null")


async def read_files(request: Request, body: bytes, most: int) -> list[bytes]:
    """The files of a multipart form, in order.

    Args:
        request: whose headers say where the parts end.
        body: all of it.
        most: files.

    Raises:
        BadInputError: 400, it is no form; 422, a field that is no file, no file, or too many.
    """

    async def replay() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    again = Request({key: value for key, value in request.scope.items() if key != "app"}, replay)
    try:
        async with again.form(max_files=most + 1, max_fields=8, max_part_size=len(body) + 1) as form:
            fields = [name for name, value in form.multi_items() if not isinstance(value, UploadFile)]
            if fields:
                raise BadInputError(f"the form has the field '{fields[0]}', which is no file: send images as files")
            files = [await value.read() for _, value in form.multi_items() if isinstance(value, UploadFile)]
    except BadInputError:
        raise
    except Exception as error:  # the parser's own classes are several, and a bad form is all that can be wrong
        raise BadInputError(f"the multipart form cannot be read: {error}", 400) from None
    if not files:
        raise BadInputError("the form has no file: send one or more images as files")
    if len(files) > most:
        raise BadInputError(f"a request may have {most} images, this one has more")
    return files

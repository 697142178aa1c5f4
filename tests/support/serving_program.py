"""A service of one small model as a program: `python serving_program.py VERSION_FILE [PAUSE_S]` prints its port.

SIGHUP opens the model anew, with the version that the file names then; with the word `broken` it cannot be opened.
"""

from __future__ import annotations

import sys
from pathlib import Path

from served_models import ColourModel

from lightning_tl.serving.service.application import Service
from lightning_tl.serving.service.metrics import ServiceMetrics
from lightning_tl.serving.service.served_model import ServedModel
from lightning_tl.serving.service.server import open_socket, run_service
from lightning_tl.serving.service.settings import ServiceSettings


def main() -> None:
    file, pause_s = Path(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 0.0

    def open_model() -> ColourModel:
        version = file.read_text().strip()
        if version == "broken":
            raise ValueError("the manifest is damaged")
        return ColourModel(version, pause_s)

    settings, metrics = ServiceSettings(), ServiceMetrics()
    service = Service([ServedModel("m", open_model, settings, metrics.batched)], settings, metrics)
    listening = open_socket("127.0.0.1", 0)
    print(listening.getsockname()[1], flush=True)
    run_service(service, listening)


if __name__ == "__main__":
    main()

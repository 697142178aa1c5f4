"""What a bundle costs: cold start to the first answer, memory of its process, latency beside torch, and size.

python scripts/benchmarks/bundle.py --run RUN_FOLDER [--bundle FOLDER] [--sample FILE_OR_TEXT]
python scripts/benchmarks/bundle.py --run RUN_FOLDER --int8 FOLDER [--bundle FOLDER] [--sample FILE_OR_TEXT]

With --int8, a bundle that `export --int8` wrote, both are asked in turn: times as fast, bytes, and the accuracy lost.

The bundle answers in a process of its own that imports no torch; torch has one thread, too.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

_COLD = """if True:
    import resource, sys, time
    begun = time.perf_counter()
    from pathlib import Path
    from lightning_tl.serving import open_bundle
    model = open_bundle(sys.argv[1])
    raw = Path(sys.argv[2]).read_bytes() if model.facts.kind == "images" else sys.argv[2]
    raw = (raw, raw) if model.facts.kind == "pairs" else raw
    model.predict([model.prepare(raw)])
    first = time.perf_counter() - begun
    prepared, times = [model.prepare(raw)], []
    for _ in range(int(sys.argv[3])):
        start = time.perf_counter()
        model.predict(prepared)
        times.append(time.perf_counter() - start)
    assert "torch" not in sys.modules
    status = Path("/proc/self/status").read_text().splitlines()
    resident = next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1024
    times.sort()
    print(first, resident, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, times[len(times) // 2] * 1e3)
"""


def cold(bundle: Path, sample: str, repeats: int) -> dict[str, float]:
    """Seconds to the first answer with and without Python's own start, MiB, and milliseconds of a warm answer."""
    begun = time.perf_counter()
    command = [sys.executable, "-c", _COLD, str(bundle), sample, str(repeats)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    first, resident, peak, latency = map(float, done.stdout.split())
    whole = time.perf_counter() - begun
    return {"first_s": first, "process_s": whole, "resident_mib": resident, "peak_mib": peak, "onnx_ms": latency}


def with_torch(bundle: Path, run: Path, sample: str, repeats: int) -> float:
    """Milliseconds of a warm answer by torch on one thread, inputs prepared."""
    import torch

    from lightning_tl.cli.commands.export import ExportCLI
    from lightning_tl.cli.commands.export_options import read_export_options
    from lightning_tl.serving import open_bundle
    from lightning_tl.serving.models.onnx_predictor import OnnxPredictor

    torch.set_num_threads(1)
    model: Any = open_bundle(bundle)
    assert isinstance(model, OnnxPredictor), "a classifier or regressor"
    raw: Any = Path(sample).read_bytes() if model.facts.kind == "images" else sample
    fed = model.reader.feeds([model.prepare((raw, raw) if model.facts.kind == "pairs" else raw)])
    inputs = {name: torch.from_numpy(value) for name, value in fed.items()}
    given: Any = inputs["inputs"] if model.facts.kind == "images" else inputs

    class Timed(ExportCLI):
        """Builds the module as `export` does, and asks it in place of writing it."""

        def run_subcommand(self, subcommand: str) -> None:
            """See the class."""
            from lightning_tl.bundling import trained_module
            from lightning_tl.contracts.run_description import RunDescription

            description = RunDescription.read(run)
            assert description is not None
            module = trained_module(self.model, description, Path(str(self.field(self.config, "ckpt_path"))))
            times = []
            with torch.inference_mode():
                for _ in range(repeats):
                    start = time.perf_counter()
                    module(given)
                    times.append(time.perf_counter() - start)
            self.milliseconds = sorted(times)[len(times) // 2] * 1e3

    return Timed(read_export_options(["--run", str(run)])).milliseconds


def against_int8(bundle: Path, int8: Path, sample: str, repeats: int) -> dict[str, float]:
    """Two bundles asked in turn on one thread: milliseconds of one sample and of eight, ratios, sizes and scores."""
    from lightning_tl.serving import open_bundle

    models: list[Any] = [open_bundle(folder) for folder in (bundle, int8)]
    raw: Any = Path(sample).read_bytes() if models[0].facts.kind == "images" else sample
    raw = (raw, raw) if models[0].facts.kind == "pairs" else raw
    found: dict[str, float] = {}
    for count in (1, 8):
        prepared = [models[0].prepare(raw)] * count
        times: list[list[float]] = [[], []]
        for _ in range(repeats):
            for model, taken in zip(models, times, strict=True):
                start = time.perf_counter()
                model.predict(prepared)
                taken.append(time.perf_counter() - start)
        plain, small = (sorted(taken)[repeats // 2] * 1e3 for taken in times)
        found |= {
            f"float32_ms_of_{count}": plain,
            f"int8_ms_of_{count}": small,
            f"times_as_fast_of_{count}": plain / small,
        }
    lost = models[1].facts.card["int8"]
    sizes = {"float32_mib": lost["bytes_float32"] / 2**20, "int8_mib": lost["bytes_int8"] / 2**20}
    return {**found, **sizes, "float32_score": lost["float32"], "int8_score": lost["int8"], "samples": lost["samples"]}


def main() -> None:
    """Measure and print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="folder of a run with its bundle")
    parser.add_argument("--bundle", type=Path, help="default RUN/bundle")
    parser.add_argument("--int8", type=Path, help="the bundle in 8 bits to compare with")
    parser.add_argument("--sample", default="a light blue dress of thin cotton that fits", help="file or text")
    parser.add_argument("--repeats", type=int, default=100)
    asked = parser.parse_args()
    bundle = asked.bundle or asked.run / "bundle"
    found: dict[str, float]
    if asked.int8 is not None:
        found = against_int8(bundle, asked.int8, asked.sample, asked.repeats)
        print(json.dumps({name: round(value, 3) for name, value in found.items()}))
        return
    found = min((cold(bundle, asked.sample, asked.repeats) for _ in range(3)), key=lambda one: one["process_s"])
    found["torch_ms"] = with_torch(bundle, asked.run, asked.sample, asked.repeats)
    found["size_mib"] = sum(path.stat().st_size for path in bundle.rglob("*") if path.is_file()) / 2**20
    print(json.dumps({name: round(value, 2) for name, value in found.items()}))


if __name__ == "__main__":
    main()

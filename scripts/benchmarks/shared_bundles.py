"""Several bundles over one frozen backbone in one process, sharing it or not: memory, and milliseconds of an answer.

python scripts/benchmarks/shared_bundles.py BUNDLE BUNDLE … [--sample FILE_OR_TEXT]

Each way is a process of its own; the bundles are asked in turn, on one thread. Answers of both ways are compared.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from typing import Any

_ONE_WAY = """if True:
    import json, sys, time
    from pathlib import Path
    from lightning_tl.serving import open_bundle
    from lightning_tl.serving.models.shared_sessions import SharedSessions
    shared, sample, repeats, *folders = sys.argv[1:]
    sessions = SharedSessions() if shared == "shared" else None
    models = [open_bundle(folder, sessions=sessions) for folder in folders]
    raw = Path(sample).read_bytes() if models[0].facts.kind == "images" else sample
    prepared = [model.prepare(raw) for model in models]
    outputs = [model.predict([one]).outputs[0].tolist() for model, one in zip(models, prepared)]
    times = []
    for _ in range(int(repeats)):
        for model, one in zip(models, prepared):
            start = time.perf_counter()
            model.predict([one])
            times.append(time.perf_counter() - start)
    times.sort()
    status = Path("/proc/self/status").read_text().splitlines()
    resident = next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1024
    graphs = len({id(model.session) for model in models})
    print(json.dumps(dict(MiB=resident, ms=times[len(times) // 2] * 1e3, graphs=graphs, outputs=outputs)))
"""


def one_way(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """What a process that opens all bundles finds."""
    words = [name, options.sample, str(options.repeats), *options.bundles]
    done = subprocess.run([sys.executable, "-c", _ONE_WAY, *words], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main() -> None:
    """Print a line for each way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundles", nargs="+", metavar="BUNDLE")
    parser.add_argument("--sample", default="It works as it should, and I would buy it again.")
    parser.add_argument("--repeats", type=int, default=100)
    options = parser.parse_args()
    ways = {name: one_way(name, options) for name in ("alone", "shared")}
    outputs = [way.pop("outputs") for way in ways.values()]
    for name, way in ways.items():
        print(f"{name:8} {way['graphs']} graphs, {way['MiB']:7.1f} MiB resident, {way['ms']:6.2f} ms an answer")
    rows = [zip(*pair, strict=True) for pair in zip(*outputs, strict=True)]
    print(f"largest difference of a probability {max(abs(a - b) for row in rows for a, b in row):.1e}")


if __name__ == "__main__":
    main()

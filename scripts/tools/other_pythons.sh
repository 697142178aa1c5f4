#!/usr/bin/env bash
# Whether the other supported Pythons work too: `bash scripts/tools/other_pythons.sh`, or with names or paths of some.
# Without any, those of 3.11 to 3.13 that are on PATH are tried, but for the one that `.ci/run` takes.
#
# Each gets a fresh environment with the wheel of this checkout and the versions of constraints.txt (7 GB for a moment).
# From the wheel, away from the checkout, every module is imported and the command started. Then come the tests that are
# not slow, on this checkout, or with TESTS="tests/training tests/tasks" these.
set -euo pipefail
checkout=$(cd "$(dirname "$0")/../.." && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
unset PYTHONPATH PYTHONHOME

pythons=("$@")
if [ $# -eq 0 ]; then
    for version in 3.11 3.12 3.13; do
        if "python$version" -c "" 2>/dev/null; then pythons+=("python$version"); fi
    done
    pythons=("${pythons[@]:1}")
fi
if [ ${#pythons[@]} -eq 0 ]; then
    echo "no other Python of 3.11 to 3.13 is on PATH; name some: bash scripts/tools/other_pythons.sh PYTHON …" >&2
    exit 2
fi

# Sources alone: what an earlier build left in the checkout would get into the wheel.
mkdir "$folder/sources"
(cd "$checkout" && git ls-files -z --cached --others --exclude-standard | xargs -0 -r ls -d 2>/dev/null) |
    tar -C "$checkout" -cf - -T - | tar -C "$folder/sources" -xf -

for python in "${pythons[@]}"; do
    echo "== $("$python" --version)"
    rm -rf "$folder/venv" "$folder/wheels"
    "$python" -m venv "$folder/venv"
    (
        export PATH="$folder/venv/bin:$PATH"
        python -m pip wheel --quiet --no-deps --wheel-dir "$folder/wheels" "$folder/sources"
        python -m pip install --quiet "$(ls "$folder"/wheels/*.whl)[dev]" -c "$checkout/constraints.txt"
        cd "$folder"
        python -W error::SyntaxWarning - <<'CODE'
import importlib, pkgutil, datamodules, lightning_tl

names = [m.name for package in (datamodules, lightning_tl) for m in pkgutil.walk_packages(package.__path__, package.__name__ + ".")]
for name in names:
    importlib.import_module(name)
print(f"{len(names)} modules imported from {lightning_tl.__path__[0]}")
CODE
        lightning-tl --version
        lightning-tl --help >"$folder/help"
        cd "$checkout"
        pytest -q -m "not slow and not whole and not browser" ${TESTS:-} </dev/null
    )
done

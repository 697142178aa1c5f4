"""What a mistake on the command line must not wait for: modules are counted, since seconds depend on the machine."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
AT_ONCE = (["--help"], ["fitt"], ["fit", "--recipe", "satelite_vit"], ["fit", "--run", "nowhere"], ["fit"])
FIELDS = {
    "of the trainer": ("satellite_vit", "--trainer.max_epoch=3"),
    "of the model": ("text_linear_probe", "--model.lrr=3"),
    "of the data": ("two_tower", "--data.batchsize=3"),
    "of a backbone": ("satellite_fine_tune", "--model.backbone.pretrain=x"),
    "no field at all": ("streamrec_track_a", "--wrong=3"),
}
HEAVY = {
    *("datasets", "faiss", "matplotlib", "mlflow", "peft", "safetensors.torch", "sentence_transformers", "sklearn"),
    *("tensorboard", "tifffile", "timm", "tokenizers", "torchvision.models.detection", "transformers.modeling_utils"),
    *("transformers.models.bert.modeling_bert", "transformers.models.auto.modeling_auto", "wandb"),
}
CODE = f"""if True:
    import contextlib, io, json, sys

    def run(arguments):
        said = io.StringIO()
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
            main(arguments)
        return said.getvalue()

    from lightning_tl.cli import main
    answers = [run(arguments) for arguments in {AT_ONCE!r}]
    early = sorted({{"torch", "lightning", "jsonargparse", "datamodules", "numpy", "pandas"}} & set(sys.modules))
    import lightning.pytorch
    without = set(sys.modules)
    fields = [run(["fit", "--recipe", *words]) for words in {list(FIELDS.values())!r}]
    more = sorted(set(sys.modules) - without)
    print(json.dumps(dict(answers=answers, early=early, fields=fields, more=more)))
"""


@pytest.fixture(scope="module")
def started() -> dict[str, list[str]]:
    """What one process that makes all these mistakes says and loads."""
    done = subprocess.run([sys.executable, "-c", CODE], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found: dict[str, list[str]] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_help_and_misspelt_names_load_nothing(started: dict[str, list[str]]) -> None:
    assert started["early"] == []
    assert "usage:" in started["answers"][0]
    assert all(answer.startswith("error: ") for answer in started["answers"][1:]), started["answers"][1:]


def test_misspelt_fields_load_little_more_than_lightning(started: dict[str, list[str]]) -> None:
    """Reading them takes the signatures of classes, so Lightning and torch, but nothing that only work needs."""
    assert all("no field" in answer for answer in started["fields"]), started["fields"]
    assert sorted(HEAVY & set(started["more"])) == []
    theirs = [name for name in started["more"] if name.split(".")[0] not in ("lightning_tl", "datamodules")]
    assert len(theirs) < 600, "pandas with pyarrow, jsonargparse and docstring_parser have some 480"

"""What CLIP training leaves, used on the command line: zero-shot answers and pictures of items, whatever the towers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_runs import error_of, make_job
from tiny_clip import save_clip
from tiny_pairs import write_pairs
from tiny_pictures import picture_log

from lightning_tl.cli import main

SHORT = [
    "--trainer.accelerator=cpu",
    "--trainer.devices=1",
    "--trainer.max_epochs=1",
    "--trainer.limit_train_batches=2",
    "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
]


def towers(name: str, folder: Path, models: Path) -> list[str]:
    """The options of a training on pairs."""
    if name == "HuggingFaceCLIP":
        return ["--recipe", "continue_clip", f"--model.pretrained={save_clip('clip', folder)}"]
    timm = ("pretrained=test_vit", "weights=false", "image_size=32")
    return [
        "--recipe",
        "pretrain_clip",
        "--model.backbone=lightning_tl.backbones.TimmBackbone",
        *(f"--model.backbone.{option}" for option in timm),
        f"--model.text_backbone.pretrained={models / 'minilm'}",
        "--model.text_backbone.pooling=mean",
    ]


@pytest.mark.parametrize("name", ["HuggingFaceCLIP", "ImageTextPair"])
def test_a_folder_is_used(
    name: str, saved_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    make_job(tmp_path)
    pairs = [f"--data.path={write_pairs(tmp_path / 'pairs')}", f"--data.cache={tmp_path / 'kept'}"]
    own = ["--data.batch_size=4", "--data.num_workers=0", "--run_folder=paired"]
    main([*towers(name, tmp_path, saved_models), *pairs, *SHORT, *own])

    assert "predict is not for a run of" in error_of(["predict", "--run", "paired"], capsys)
    assert "embed is not for a run of" in error_of(["embed", "--run", "paired", "--output", "clip.parquet"], capsys)
    strangers = [f"--model.backbone.pretrained={tmp_path / 'vit'}"]
    if name == "HuggingFaceCLIP":  # its towers are those of one model
        message = error_of([*towers(name, tmp_path, saved_models), *pairs, *strangers], capsys)
        assert "lightning_tl.pretraining.ContinuedClip has no field 'backbone" in message

    zero = ["--recipe", "satellite_zero_shot", "--data=datamodules.ImageFolderDataModule", "--data.root=images", *SHORT]
    zero += ["--model.descriptions={field: a red boat, lake: cold water, town: big house}"]
    opened = f"lightning_tl.backbones.{name}"
    main([*zero, f"--model.backbone={opened}", "--model.backbone.pretrained=paired/model", "--run_folder=zero"])
    assert 0 <= json.loads((tmp_path / "zero" / "summary.json").read_text())["test"]["accuracy"] <= 1
    if name == "ImageTextPair":
        message = error_of([*zero, "--model.backbone.pretrained=paired/model"], capsys)
        assert "no one model; open it with lightning_tl.backbones.ImageTextPair" in message

    picture_log(tmp_path / "log")
    tables = [f"--data.{table}=log/{table}.parquet" for table in ("events", "items", "users")]
    log = [*tables, "--data.picture=cover", "--data.uniform_negatives=0", "--data.batch_size=8"]
    items = [f"--model.items.encoder.pretrained={saved_models / 'minilm'}"]
    items += [f"--model.items.picture_encoder={opened}", "--model.items.picture_encoder.pretrained=paired/model"]
    more = [f"--data.cache={tmp_path / 'kept'}", "--checkpoint.monitor=null", "--run_folder=items"]
    main(["--recipe", "two_tower", *SHORT, *log, *items, *more])
    capsys.readouterr()
    main(["recommend", "--run", "items", "--user", "u3"])
    assert "i" in capsys.readouterr().out

"""A CLIP trained further: it begins with the vectors of its model, and what it leaves opens as that model does."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import tiny
import torch
import transformers
from tiny_clip import save_clip
from tiny_pairs import write_images, write_pairs
from tiny_run import Run, killed_and_resumed, launch
from torch.nn import functional as F

from datamodules import CaptionedImagesDataModule, ImageFolderDataModule
from lightning_tl.adaptation import Frozen
from lightning_tl.backbones import HuggingFaceCLIP, HuggingFaceText, ImageTextPair
from lightning_tl.pretraining import Clip, ContinuedClip, ZeroShotProbe
from lightning_tl.strategies import ZeroShot
from lightning_tl.training.schedules import Constant

SAID = ["a red dress", "the old boat was wet and the fish was not good at all", "fish"]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = save_clip("clip", tmp_path_factory.mktemp("original"))
    return folder


def shown() -> torch.Tensor:
    return torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def pairs(folder: Path, **options: Any) -> CaptionedImagesDataModule:
    options = {"batch_size": 8, "num_workers": 0, "seed": 1, "cache": folder / "kept", **options}
    return CaptionedImagesDataModule(write_pairs(folder / "pairs", 16), **options)


@torch.no_grad()
def vectors_of_clip(folder: Path) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Unit vectors of images and texts, and the logit scale, as transformers gives them."""
    model: Any = transformers.CLIPModel.from_pretrained(folder)
    model.eval()
    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(folder)
    tokens = tokenizer(SAID, padding=True, truncation=True, max_length=12, return_tensors="pt")
    out = model(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"], pixel_values=shown())
    return out.image_embeds, out.text_embeds, float(model.logit_scale)


@torch.no_grad()
def vectors(module: Clip) -> tuple[torch.Tensor, torch.Tensor]:
    module.eval()
    return module.embed_images(shown()), module.embed_wordings(SAID)


def check_equal(found: tuple[torch.Tensor, ...], expected: tuple[Any, ...]) -> None:
    for mine, other in zip(found, expected[:2], strict=True):
        torch.testing.assert_close(mine, other, atol=1e-5, rtol=0)


def test_it_begins_where_the_model_ended(original: Path) -> None:
    module, expected = ContinuedClip(str(original)), vectors_of_clip(original)
    check_equal(vectors(module), expected)
    assert float(module.pair_loss.loss.log_scale.detach()) == expected[2]
    assert module.pair_loss.loss.temperature == pytest.approx(math.exp(-2.5))
    assert (module.lr, module.image_lr, module.text_lr) == (1e-5, 1e-5, 1e-5)


def test_a_temperature_beyond_our_bounds_is_kept(tmp_path: Path) -> None:
    folder = save_clip("clip", tmp_path)
    model = transformers.CLIPModel.from_pretrained(folder)
    for scale in (math.log(100), 5.0, -0.5):
        model.logit_scale.data.fill_(scale)
        model.save_pretrained(folder)
        loss = ContinuedClip(str(folder)).pair_loss.loss
        loss.keep_in_bounds()
        assert float(loss.log_scale.detach()) == float(model.logit_scale.detach())


def test_scores_before_the_first_step_are_those_of_the_model(original: Path, tmp_path: Path) -> None:
    root, words = tmp_path / "labelled", {"a": "a red dress", "b": "the old boat", "c": "fish"}
    for number, name in enumerate(words):
        write_images(root / name, 20, side=8, seed=number)

    def labelled() -> ImageFolderDataModule:
        return ImageFolderDataModule(root, validation_fraction=0.4, batch_size=8, num_workers=0, seed=1)

    module = ContinuedClip(str(original), zero_shot=ZeroShotProbe(labelled(), words))
    trainer = tiny.tiny_trainer(tmp_path)
    trainer.validate(module, datamodule=pairs(tmp_path), verbose=False)
    other = tiny.tiny_trainer(tmp_path / "zero", max_epochs=1)
    other.fit(ZeroShot(HuggingFaceCLIP(str(original)), words, ("a photo of {}",)), datamodule=labelled())
    found = float(trainer.callback_metrics["val_zero_shot_accuracy"])
    assert found == pytest.approx(float(other.callback_metrics["val_accuracy"]), abs=1e-6)


def test_what_it_leaves_opens_as_a_clip_and_goes_on(original: Path, tmp_path: Path) -> None:
    """By transformers, by `HuggingFaceCLIP`, by `ImageTextPair`, and as the start of the next training."""
    module = ContinuedClip(str(original), lr=1e-3, schedule=Constant(), image_adaptation=Frozen(), chunk=3)
    before = vectors(module)
    tiny.tiny_trainer(tmp_path, max_epochs=1).fit(module, datamodule=pairs(tmp_path))
    expected, folder = vectors(module), tmp_path / "model"
    assert not torch.allclose(expected[0], before[0], atol=1e-4), "the projection is trained, LiT or not"
    found = vectors_of_clip(folder)
    check_equal(found[:2], expected)
    assert found[2] == float(module.pair_loss.loss.log_scale.detach()) != 2.5
    again = ContinuedClip(str(folder))
    check_equal(vectors(again), expected)
    assert float(again.pair_loss.loss.log_scale.detach()) == found[2]
    (folder / "pair.json").unlink()  # as if others had saved it
    check_equal(vectors(ContinuedClip(str(folder))), expected)


@torch.no_grad()
def test_backbones_open_what_it_leaves(original: Path, tmp_path: Path) -> None:
    module = ContinuedClip(str(original))
    module.save(tmp_path / "model")
    for kind in (HuggingFaceCLIP, ImageTextPair):
        backbone: Any = kind(str(tmp_path / "model")).eval()
        found = backbone(shown()), backbone.embed_texts(SAID)
        check_equal(tuple(F.normalize(each, dim=1) for each in found), vectors(module))
        assert backbone.temperature == pytest.approx(math.exp(-2.5))
        assert backbone.input_spec == module.backbone.input_spec


def test_the_text_tower_of_a_clip_by_itself(original: Path) -> None:
    text = HuggingFaceText(str(original))
    assert text.settings.pooling == "lasttoken" and text.settings.max_length == 12 and text.feature_dim == 16


def test_other_models_are_refused(saved_models: Path, original: Path, tmp_path: Path) -> None:
    cases: dict[str, str] = {
        str(saved_models / "vit"): "is a 'vit' model: training goes on from a CLIPModel of transformers, such as",
        str(save_clip("siglip", tmp_path)): r"is a 'siglip' model: .*as backbone and text_backbone of lightning_tl",
    }
    for name, message in cases.items():
        with pytest.raises(ValueError, match=message):
            ContinuedClip(name)
    with pytest.raises(FileNotFoundError, match="there is no folder or file"):
        ContinuedClip(str(tmp_path / "nowhere"))
    folder = save_clip("clip", tmp_path)
    settings = (folder / "config.json").read_text()
    (folder / "config.json").write_text(settings.replace('"eos_token_id": 3', '"eos_token_id": 5'))
    with pytest.raises(ValueError, match=r"does not end texts with the token that its text tower reads \(5\)"):
        ContinuedClip(str(folder))


# -------------------------------------------------------------------- killed runs


def no_callbacks() -> list[pl.Callback]:
    return [pl.Callback()]


class Built:
    """Builds module and data in another process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self) -> tuple[pl.LightningModule, pl.LightningDataModule]:
        data = CaptionedImagesDataModule(
            self.folder / "pairs" / "pairs.csv", batch_size=4, num_workers=0, seed=1, cache=self.folder / "kept"
        )
        return ContinuedClip(str(self.folder / "clip"), lr=1e-3, chunk=2), data


def test_a_killed_run_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    """SIGKILL in the middle of an epoch, twice, with gradient caching: as if it had never been."""
    save_clip("clip", tmp_path)
    write_pairs(tmp_path / "pairs", 16)
    shared: dict[str, Any] = {"build": Built(tmp_path), "extra": no_callbacks, "save_every": 2}
    shared["trainer"] = {"max_epochs": 3}
    through = launch(Run(str(tmp_path / "through"), **shared))
    kills = [("on_train_batch_start", 5), ("on_before_optimizer_step", 1)]
    resumed = killed_and_resumed(Run(str(tmp_path / "killed"), **shared), kills)
    assert through[0] is not None and resumed[0] is not None
    assert "error" not in through[0] and resumed[0]["step"] == through[0]["step"] == 9
    assert resumed[0]["weights"] == through[0]["weights"]

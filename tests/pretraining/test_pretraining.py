"""Self-supervised pretraining: the tiles it may see, what it learns from, and the encoder it leaves behind."""

from __future__ import annotations

import functools
import hashlib
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import tiny
import torch
import transformers
from ranks import on_two_ranks
from torch import Tensor

from datamodules import Augmentation, OverheadAugmentation, UnlabelledLandCoverDataModule
from datamodules.sets.land_cover_map import BLOCK_PIXELS
from lightning_tl.backbones import Backbone, HuggingFaceVision, TorchvisionResNet
from lightning_tl.callbacks import ResumableCheckpoint
from lightning_tl.pretraining import ContrastivePretraining, MaskedAutoencoder, Pretraining
from lightning_tl.pretraining.patch_decoder import position_embeddings
from lightning_tl.training.schedules import Constant

SMALL: dict[str, Any] = {"lr": 3e-3, "schedule": Constant()}
DECODER: dict[str, Any] = {"decoder_hidden_size": 16, "decoder_layers": 1, "decoder_heads": 2}
TILES, BATCH, EPOCHS = 64, 16, 12


def unlabelled(views: int, **options: Any) -> UnlabelledLandCoverDataModule:
    data = UnlabelledLandCoverDataModule(tiles_per_epoch=TILES, batch_size=BATCH, views=views, seed=1, **options)
    data.setup("fit")
    return data


@pytest.fixture(scope="module")
def single() -> UnlabelledLandCoverDataModule:
    return unlabelled(1)


@pytest.fixture(scope="module")
def pairs() -> UnlabelledLandCoverDataModule:
    return unlabelled(2)


@functools.cache
def saved_vit() -> str:
    """A folder of a small ViT for tiles of 16 pixels."""
    folder = tempfile.mkdtemp()
    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    config = transformers.ViTConfig(**size, image_size=16, patch_size=4)
    transformers.ViTModel(config, add_pooling_layer=False).save_pretrained(folder)
    return folder


def masked(backbone: Backbone | None = None, **options: Any) -> MaskedAutoencoder:
    folder = saved_vit()  # whose making draws, the first time
    torch.manual_seed(0)
    backbone = backbone or HuggingFaceVision(folder, weights=False)
    return MaskedAutoencoder(backbone, **(SMALL | DECODER | options))


def contrastive(backbone: Backbone | None = None, **options: Any) -> ContrastivePretraining:
    folder = saved_vit()  # whose making draws, the first time
    torch.manual_seed(0)
    backbone = backbone or HuggingFaceVision(folder, weights=False)
    return ContrastivePretraining(backbone, **(SMALL | {"projection": 8} | options))


CASES: dict[str, tuple[Callable[..., Pretraining], str]] = {
    "masked": (masked, "single"),
    "contrastive": (contrastive, "pairs"),
}


class Losses(pl.Callback):
    def __init__(self) -> None:
        self.of_epoch: list[float] = []

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.of_epoch.append(float(trainer.callback_metrics["train_loss_epoch"]))


@torch.no_grad()
def objective(module: Pretraining, inputs: Tensor) -> float:
    """The loss on these tiles, with one mask for all times."""
    if isinstance(module, MaskedAutoencoder):
        module.configure_model()
        order = torch.rand(len(inputs), 16, generator=torch.Generator().manual_seed(0)).argsort(1)
        return float(module.restored(inputs, order[:, : module.kept_count]))
    assert isinstance(module, ContrastivePretraining)
    first, second = (module.projector(module.backbone(v)) for v in inputs.unbind(1))
    return float(module.loss(first, second))


@pytest.mark.parametrize("name", CASES)
def test_loss_falls_and_the_encoder_opens_elsewhere(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    build, fixture = CASES[name]
    data, module, losses = request.getfixturevalue(fixture), build(), Losses()
    batch = data.fetch(np.arange(64), 50)["inputs"]  # no epoch has these tiles
    before = objective(module, batch)
    tiny.tiny_trainer(tmp_path, [losses], max_epochs=EPOCHS).fit(module, datamodule=data)
    assert objective(module, batch) < 0.9 * before

    folder = tmp_path / "model"
    images = data.fetch(np.arange(8), 99)["inputs"].flatten(0, -4)[:8]
    module.eval()
    opened, report = transformers.AutoModel.from_pretrained(folder, add_pooling_layer=False, output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    backbone = HuggingFaceVision(str(folder)).eval()
    with torch.no_grad():
        expected = module.features(images)
        torch.testing.assert_close(opened.eval()(images).last_hidden_state[:, 0], expected, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(backbone(images), expected, atol=1e-5, rtol=1e-4)
    assert backbone.input_spec == data.input_spec

    provenance = json.loads((folder / "provenance.json").read_text())
    weights = (folder / "model.safetensors").read_bytes()
    assert provenance["sha256_of_model_safetensors"] == hashlib.sha256(weights).hexdigest()
    assert provenance["final_training_loss"] == pytest.approx(losses.of_epoch[-1], abs=1e-4)
    assert (provenance["seed"], provenance["steps"], provenance["images_per_step"]) == (
        7,
        EPOCHS * TILES // BATCH,
        BATCH,
    )
    assert provenance["precision"] == "32-true" and provenance["torch"] in torch.__version__
    assert (
        provenance["objective"]
        == {
            "masked": "masked autoencoder, 60% masked, pixels",
            "contrastive": "SimCLR, temperature 0.2",
        }[name]
    )
    assert provenance["command"].split()[0] == Path(sys.argv[0]).name and "--run_folder" not in provenance["command"]


class StopAt(pl.Callback):
    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, number: int) -> None:
        if trainer.global_step == 6:
            raise InterruptedError


@pytest.mark.parametrize("name", CASES)
def test_resumes_exactly_in_mid_epoch(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    build, fixture = CASES[name]
    data = request.getfixturevalue(fixture)
    trainer = tiny.tiny_trainer(tmp_path / "through", max_epochs=2)
    through = build(schedule=None)  # whose decoder is drawn from the same state in all three runs
    trainer.fit(through, datamodule=data)
    save = ResumableCheckpoint(monitor=None, every_n_train_steps=5)
    with pytest.raises(InterruptedError):
        tiny.tiny_trainer(tmp_path, [save, StopAt()], max_epochs=2).fit(build(schedule=None), datamodule=data)
    resumed = build(schedule=None)
    trainer = tiny.tiny_trainer(tmp_path, max_epochs=2)
    trainer.fit(resumed, datamodule=data, ckpt_path=save.last_model_path, weights_only=True)
    assert trainer.global_step == 2 * TILES // BATCH
    assert tiny.weights_hash(resumed) == tiny.weights_hash(through)


def test_output_folder_can_be_chosen(single: UnlabelledLandCoverDataModule, tmp_path: Path) -> None:
    module = masked(output=tmp_path / "elsewhere")
    tiny.tiny_trainer(tmp_path, max_epochs=1, limit_train_batches=1).fit(module, datamodule=single)
    assert (tmp_path / "elsewhere" / "config.json").exists() and not (tmp_path / "model").exists()


def test_matrices_decay_and_the_rest_does_not(pairs: UnlabelledLandCoverDataModule, tmp_path: Path) -> None:
    module = contrastive(weight_decay=0.2)
    trainer = tiny.tiny_trainer(tmp_path, max_epochs=1, limit_train_batches=1)
    trainer.fit(module, datamodule=pairs)
    decaying, still = trainer.optimizers[0].param_groups
    assert (decaying["weight_decay"], still["weight_decay"]) == (0.2, 0.0)
    assert all(p.ndim >= 2 for p in decaying["params"]) and all(p.ndim < 2 for p in still["params"])
    assert len(decaying["params"]) + len(still["params"]) == len(list(module.parameters()))


class FirstStep(pl.Callback):
    """Loss and gradient of the first step, as the optimizer gets them."""

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        gradients = {n: p.grad.clone() for n, p in pl_module.named_parameters() if p.grad is not None}
        self.result = (float(trainer.callback_metrics["train_loss_step"]), gradients)


def first_step(folder: str, devices: int) -> tuple[float, dict[str, Tensor]]:
    seen, strategy = FirstStep(), "ddp" if devices > 1 else "auto"
    trainer = tiny.tiny_trainer(folder, [seen], max_epochs=1, max_steps=1, devices=devices, strategy=strategy)
    data = UnlabelledLandCoverDataModule(tiles_per_epoch=TILES, batch_size=BATCH // devices, views=2, seed=1)
    trainer.fit(contrastive(), datamodule=data)
    return seen.result


def test_two_processes_contrast_as_one_with_the_whole_batch(tmp_path: Path) -> None:
    (loss_0, first), (loss_1, second) = on_two_ranks(first_step, tmp_path, str(tmp_path), 2)
    loss, whole = first_step(str(tmp_path / "alone"), 1)
    assert (loss_0 + loss_1) / 2 == pytest.approx(loss, abs=1e-5)
    assert first.keys() == whole.keys() and len(whole) > 10
    for name, gradient in whole.items():
        assert torch.equal(first[name], second[name]), name
        torch.testing.assert_close(first[name], gradient, atol=2e-6, rtol=1e-3)


# -------------------------------------------------------------------- positions


@pytest.mark.parametrize(("dim", "side"), [(4, 2), (16, 4), (192, 14)])
def test_every_place_has_its_own_embedding(dim: int, side: int) -> None:
    table = position_embeddings(dim, side)
    assert table.shape == (1, 1 + side * side, dim) and not table[0, 0].any()
    apart = torch.cdist(table[0, 1:].double(), table[0, 1:].double()) + torch.eye(side * side) * 9
    assert apart.min() > 0.05
    half = dim // 2
    rows = table[0, 1:].view(side, side, dim)
    assert torch.equal(rows[:, :1, :half].expand(-1, side, -1), rows[:, :, :half]), "first half tells the row alone"
    assert torch.equal(rows[:1, :, half:].expand(side, -1, -1), rows[:, :, half:]), "second half the column"
    slow = [np.sin((side - 1) * 10_000 ** (-k / (dim // 4))) for k in range(dim // 4)]
    np.testing.assert_allclose(rows[side - 1, 0, : len(slow)], slow, atol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_the_encoder_sees_where_a_patch_lies(name: str) -> None:
    module = CASES[name][0]().eval()
    image = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    swapped = image.clone()
    swapped[:, :, :4, :4], swapped[:, :, 8:12, 12:] = image[:, :, 8:12, 12:], image[:, :, :4, :4]
    with torch.no_grad():
        first, second = module.features(torch.cat([image, swapped]))
    assert (first - second).abs().max() > 1e-4


# -------------------------------------------------------------------- tiles


@pytest.mark.parametrize("fixture", ["single", "pairs"])
def test_no_tile_touches_a_validation_or_test_block(fixture: str, request: pytest.FixtureRequest) -> None:
    """All places at their largest shift; blocks are told from the labelled tiles' own places, not from their number."""
    data = request.getfixturevalue(fixture)
    manifest = data._map.manifest
    held = np.zeros((2700 // BLOCK_PIXELS, 5400 // BLOCK_PIXELS), bool)
    kept_out = manifest[manifest["split"] != "train"]
    held[kept_out["row"] // BLOCK_PIXELS, kept_out["column"] // BLOCK_PIXELS] = True
    assert held.sum() > 100
    rows, columns = np.divmod(data._centres, 5400)
    reach = data.tile_size // 2 + data.view_shift
    assert len(rows) > 100_000 and reach == {"single": 8, "pairs": 10}[fixture]
    ends = [(c - reach, c + reach - 1) for c in (rows, columns)]
    for (first, last), size in zip(ends, (2700, 5400), strict=True):
        assert first.min() >= 0 and last.max() < size
    for row in ends[0]:  # a tile is smaller than a block: its corners lie in every block that it touches
        for column in ends[1]:
            assert not held[row // BLOCK_PIXELS, column // BLOCK_PIXELS].any()


def test_places_are_on_land(single: UnlabelledLandCoverDataModule) -> None:
    land = single._map.land_pixels()
    half = single.tile_size // 2
    for row, column in single.centres(np.arange(200), 0):
        share = land[row - half : row + half, column - half : column + half].mean()
        assert share >= single.least_land - 1e-6


def test_places_are_a_function_of_seed_epoch_and_index(single: UnlabelledLandCoverDataModule) -> None:
    indices = np.arange(50)
    places = single.centres(indices, 3)
    np.testing.assert_array_equal(single.centres(indices[::-1], 3), places[::-1])
    np.testing.assert_array_equal(single.centres([7], 3)[0], places[7])
    assert (single.centres(indices, 4) != places).any(1).mean() > 0.9
    seed, single._seed = single._seed, 2
    assert (single.centres(indices, 3) != places).any(1).mean() > 0.9
    single._seed = seed
    assert torch.equal(single.fetch(indices[4:5], 3)["inputs"][0], single.fetch(indices, 3)["inputs"][4])
    assert len(np.unique(single.centres(np.arange(5000), 0), axis=0)) > 4900


def test_two_views_differ_and_show_the_same_place(pairs: UnlabelledLandCoverDataModule) -> None:
    inputs = pairs.fetch(np.arange(64), 0)["inputs"]
    assert inputs.shape == (64, 2, 3, 16, 16)
    same = (inputs[:, 0] == inputs[:, 1]).flatten(1).all(1)
    assert same.float().mean() < 0.2
    colours = inputs.mean((3, 4))  # [64, 2, 3]: turns and small shifts leave the mean colour about as it is
    apart = torch.cdist(colours[:, 0], colours[:, 1])
    assert (apart.argmin(1) == torch.arange(64)).float().mean() > 0.6


@pytest.mark.parametrize("size", [8, 5, 16])
def test_local_crops_lie_within_the_tile(size: int) -> None:
    """Without augmentation, each crop is looked for in the tile of its place, place by place."""
    data = unlabelled(1, local_views=3, local_size=size, augmentation=Augmentation())
    batch = data.fetch(np.arange(32), 2)
    tiles, crops = batch["inputs"], batch["local"]
    assert crops.shape == (32, 3, 3, size, size)
    found = []
    for tile, of_tile in zip(tiles, crops, strict=True):
        for crop in of_tile:
            offsets = [
                (row, column)
                for row in range(17 - size)
                for column in range(17 - size)
                if torch.equal(tile[:, row : row + size, column : column + size], crop)
            ]
            assert offsets
            found.append(offsets[0])
    if size < 16:
        assert {offset for place in found for offset in place} == set(range(17 - size)), "up to both edges"
    again = data.fetch(np.arange(31, -1, -1), 2)["local"]
    assert torch.equal(again.flip(0), crops)
    assert size == 16 or not torch.equal(data.fetch(np.arange(32), 3)["local"], crops)


def test_local_crops_have_an_augmentation_of_their_own(single: UnlabelledLandCoverDataModule) -> None:
    dark = PerBatch()
    data = unlabelled(2, local_views=2, local_augmentation=dark)
    batch = data.fetch(np.arange(8), 0)
    assert data.local_size == 8 and batch["local"].shape == (8, 2, 3, 8, 8)
    black = -torch.tensor(data.input_spec.mean) / torch.tensor(data.input_spec.std)
    assert torch.allclose(batch["local"], black.view(3, 1, 1).expand_as(batch["local"]))
    assert torch.equal(batch["inputs"], unlabelled(2).fetch(np.arange(8), 0)["inputs"]), "views are as without crops"
    assert "local" not in single.fetch(np.arange(8), 0)


class PerBatch(Augmentation):
    def many(self, images: Tensor, keys: Any) -> Tensor:
        return torch.zeros(images.shape)


class AnyCrops(ContrastivePretraining):
    """It leaves local crops aside."""

    reads = None


def test_tiles_are_brought_to_what_the_backbone_reads(tmp_path: Path) -> None:
    """Also by a ResNet, which reads no 16 pixels; and the same data module then serves another."""
    data = UnlabelledLandCoverDataModule(tiles_per_epoch=16, batch_size=16, views=2, local_views=1, seed=1)
    plain = Augmentation()
    data.augmentation = data.local_augmentation = plain
    module = AnyCrops(TorchvisionResNet("resnet18", weights=None, image_size=32), projection=8)
    tiny.tiny_trainer(tmp_path, max_epochs=1).fit(module, datamodule=data)
    assert data.input_spec.image_size == 32 == module.backbone.input_spec.image_size
    assert data.notes == ["tiles of 16 pixels are brought to the 32 that the backbone reads, local crops of 8 to 16"]
    large = data.fetch(np.arange(4), 0)
    assert large["inputs"].shape == (4, 2, 3, 32, 32) and large["local"].shape == (4, 1, 3, 16, 16)

    data.trainer = None
    data.setup("fit")
    small = data.fetch(np.arange(4), 0)["inputs"].flatten(0, 1)
    mean, std = (torch.tensor(v).view(-1, 1, 1) for v in (data.input_spec.mean, data.input_spec.std))
    enlarged = torch.nn.functional.interpolate(small * std + mean, size=32, mode="bicubic", antialias=True).clamp(0, 1)
    torch.testing.assert_close(large["inputs"].flatten(0, 1), (enlarged - mean) / std, atol=1e-5, rtol=1e-4)
    assert data.notes == []


def test_bands_that_the_imagery_does_not_have(tmp_path: Path) -> None:
    module = contrastive(HuggingFaceVision(saved_vit(), weights=False, channels=4))
    with pytest.raises(ValueError, match="the imagery has 3 channels, but the backbone reads 4"):
        tiny.tiny_trainer(tmp_path).fit(module, datamodule=UnlabelledLandCoverDataModule(views=2))


def test_tiles_are_normalised_with_training_tiles_only(single: UnlabelledLandCoverDataModule) -> None:
    large = UnlabelledLandCoverDataModule(tile_size=64, tiles_per_epoch=16, batch_size=16)
    large.setup("fit")
    assert large.input_spec.mean == single.input_spec.mean, "tiles of 64 pixels would reach out of the training blocks"
    batch = single.fetch(np.arange(256), 0)["inputs"]
    assert batch.mean((0, 2, 3)).abs().max() < 1 and 0.3 < batch.std() < 3


# -------------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tile_size": 15}, "tile_size must be even and at most 75 pixels, got 15"),
        ({"tile_size": 76}, "tile_size must be even and at most 75 pixels, got 76"),
        ({"tiles_per_epoch": 10}, r"tiles_per_epoch must be at least batch_size \(256\), got 10"),
        ({"least_land": 0}, r"least_land is a share of a tile and must be in \(0, 1\], got 0"),
        ({"views": 3}, "views must be 1 or 2, got 3"),
        ({"views": 2, "view_shift": -1}, "view_shift must be at least 0 pixels, got -1"),
        ({"local_views": -1}, "local_views must be at least 0, got -1"),
        ({"local_views": 2, "local_size": 17}, r"local_size must be from 1 to tile_size \(16 pixels\), got 17"),
        ({"local_views": 2, "local_size": 0}, r"local_size must be from 1 to tile_size \(16 pixels\), got 0"),
        ({"local_size": 8}, "local_size=8 has no effect without local_views: set local_views"),
    ],
)
def test_data_arguments(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        UnlabelledLandCoverDataModule(**options)


def test_no_place_is_left() -> None:
    with pytest.raises(ValueError, match=r"no place for tiles of 16 pixels with least_land 0\.1 and view_shift 1400"):
        unlabelled(2, view_shift=1400)


def test_temperature_must_be_positive() -> None:
    with pytest.raises(ValueError, match="temperature must be above 0, got 0"):
        contrastive(temperature=0)


@pytest.mark.parametrize(
    ("name", "views", "message"),
    [
        ("masked", "pairs", "MaskedAutoencoder reads 1 view of each image, and Unlab.* makes 2: set views: 1"),
        ("contrastive", "single", "ContrastivePretraining reads 2 views of each image, .* makes 1: set views: 2"),
    ],
)
def test_views_that_the_objective_does_not_take(
    name: str, views: str, message: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        tiny.tiny_trainer(tmp_path).fit(CASES[name][0](), datamodule=request.getfixturevalue(views))


def test_augmentation_can_be_chosen() -> None:
    strong = OverheadAugmentation(brightness=0.4)
    assert UnlabelledLandCoverDataModule(augmentation=strong).augmentation is strong

"""Pictures of items: read from tables, encoded once, and part of the item tower."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from ranks import on_two_ranks
from tiny import tiny_trainer, weights_hash
from tiny_clip import save_clip
from tiny_pictures import picture_log, png, tower_of, vision
from tiny_retrieval import tiny_data, tiny_two_tower

from datamodules.events.item_pictures import ItemPictures, picture_sources
from lightning_tl.backbones import HuggingFaceCLIP, HuggingFaceText
from lightning_tl.callbacks import ResumableCheckpoint
from lightning_tl.contracts.layer_groups import check_partition
from lightning_tl.inputs.image_files import read_image
from lightning_tl.retrieval import HistoryTransformer, ItemTower, TwoTower
from lightning_tl.retrieval.towers.item_pictures import encode_pictures

# ---------------------------------------------------------------- tables


def test_cells_are_paths_contents_or_both(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(9))
    cells = ["a.png", png(9), {"bytes": None, "path": "a.png"}, {"bytes": png(9), "path": "x"}, None, float("nan"), ""]
    found = picture_sources(pd.Series(cells, name="cover"), tmp_path)
    assert found == [tmp_path / "a.png", png(9), tmp_path / "a.png", png(9), None, None, None]


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (7, "row 2 has 7.0 as its cover; a picture is the path or content of an image file"),
        ("b.png", r"row 2 has the cover 'b\.png', which is no file; correct the path"),
    ],
)
def test_cells_that_are_no_pictures(cell: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        picture_sources(pd.Series([None, cell], name="cover"), tmp_path)


def test_inputs_are_the_images_at_the_encoders_size(saved_models: Path) -> None:
    spec = vision(saved_models).input_spec
    noise = np.random.default_rng(0).integers(0, 256, (spec.image_size, spec.image_size, 3), np.uint8)
    file = BytesIO()
    Image.fromarray(noise).save(file, "PNG")
    pictures = ItemPictures([None, file.getvalue(), png(51, 2 * spec.image_size)], ["a", "b", "c"])
    assert pictures.known.tolist() == [False, True, True]
    found = pictures.inputs(np.array([2, 1]), spec)
    for channel, (mean, std) in enumerate(zip(spec.mean, spec.std, strict=True)):
        expected = (noise[:, :, channel] / 255 - mean) / std
        torch.testing.assert_close(found[1, channel], torch.from_numpy(expected).float(), rtol=1e-5, atol=1e-5)
        assert found[0, channel].sub((51 / 255 - mean) / std).abs().max() < 1e-5


def test_open_files_are_read_as_paths_are(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(77))
    assert np.array_equal(read_image(BytesIO(png(77))), read_image(tmp_path / "a.png"))


def test_a_broken_picture_is_named(tmp_path: Path, saved_models: Path) -> None:
    data = picture_log(tmp_path / "log")
    table = pd.read_parquet(tmp_path / "log" / "items.parquet")
    table.loc[4, "cover"] = b"no picture"
    table.to_parquet(tmp_path / "log" / "items.parquet")
    module = tiny_two_tower()
    module.items = tower_of(saved_models, text=False)
    with pytest.raises(ValueError, match=r"picture of item i4 cannot be read: .* Repair it, or leave its cell empty"):
        tiny_trainer(tmp_path).fit(module, datamodule=data)


def test_a_column_that_is_not_there(tmp_path: Path) -> None:
    picture_log(tmp_path)
    with pytest.raises(ValueError, match="covr"):
        tiny_data(tmp_path, picture="covr").setup("fit")


# ---------------------------------------------------------------- the tower


def test_features_are_the_encoders_own_and_missing_ones_the_mean(tmp_path: Path, saved_models: Path) -> None:
    data = picture_log(tmp_path)
    data.setup("fit")
    tower = tower_of(saved_models, text=True)
    trained = np.arange(48) % 5 > 0  # items that training knows: they alone say what is the mean and the spread
    tower.build(data.item_texts, trained.astype(np.int64), data.item_pictures)
    tower.refresh()
    known = data.item_pictures.known
    assert (known & ~trained).any() and (~known & trained).any()
    encoder = vision(saved_models).eval()
    with torch.no_grad():
        expected = encoder(data.item_pictures.inputs(np.flatnonzero(known), encoder.input_spec))
    text = tower.encoder.feature_dim
    assert tower.text_content.shape == (48, text) and tower.content.shape == (48, text + encoder.feature_dim)
    torch.testing.assert_close(tower.content[known, text:], expected, rtol=1e-5, atol=1e-6)
    mean = expected[trained[known]].mean(0)
    torch.testing.assert_close(tower.content[~known, text:], mean.expand(16, -1), rtol=1e-5, atol=1e-6)
    some = torch.tensor([2, 3, 4])
    with torch.no_grad():
        kept = tower.eval()(some)
        tower.content = tower.content[:0]  # as for one recommendation, which encodes a history alone
        torch.testing.assert_close(tower(some, torch.ones(3, dtype=torch.bool)), kept, rtol=1e-4, atol=1e-5)
        tower.refresh()
    for part, rows in ((slice(0, text), trained), (slice(text, None), trained & known)):  # each has its own spread
        scaled = ((tower.content - tower.mean) / tower.spread)[rows, part]
        assert float(scaled.square().mean()) == pytest.approx(1, rel=1e-4)
        torch.testing.assert_close(scaled.mean(0), torch.zeros(scaled.shape[1]), rtol=0, atol=1e-5)


def test_processes_share_the_pictures(tmp_path: Path, saved_models: Path) -> None:
    pictures = ItemPictures([png(k) if k % 7 else None for k in range(150)], [str(k) for k in range(150)])
    encoder = vision(saved_models)
    shares = [encode_pictures(encoder, pictures, rank, 2) for rank in range(2)]
    torch.testing.assert_close(shares[0] + shares[1], encode_pictures(encoder, pictures))
    assert all(0 < int((share.abs().sum(1) > 0).sum()) < 128 for share in shares)


@pytest.mark.parametrize("text", [False, True])
def test_it_trains_and_its_encoder_stays_out_of_checkpoints(text: bool, tmp_path: Path, saved_models: Path) -> None:
    def make() -> Any:
        module = tiny_two_tower()
        module.items = tower_of(saved_models, text, ids=False)
        return module

    module = make()
    before = {name: value.clone() for name, value in module.items.picture_encoder.state_dict().items()}
    keep = ResumableCheckpoint(monitor="val_mrr", mode="max", dirpath=tmp_path / "kept")
    tiny_trainer(tmp_path, [keep], max_epochs=2).fit(module, datamodule=picture_log(tmp_path / "log"))
    check_partition(module, module.layer_groups())
    after = module.items.picture_encoder.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert module.reachable_groups == ["head"]
    stored = torch.load(tmp_path / "kept" / "last.ckpt", weights_only=True)
    assert not any("encoder" in name for name in stored["state_dict"])
    again = make()
    checkpoint = str(tmp_path / "kept" / "last.ckpt")
    tiny_trainer(tmp_path).test(again, datamodule=picture_log(tmp_path / "log"), ckpt_path=checkpoint, verbose=False)
    assert weights_hash(again) == weights_hash(module)


def train_on_a_rank(folder: str, models: str) -> dict[str, Any]:
    module = tiny_two_tower()
    module.items = tower_of(Path(models), text=True)
    trainer = tiny_trainer(folder, devices=2, strategy="ddp", max_epochs=1, use_distributed_sampler=False)
    trainer.fit(module, datamodule=picture_log(Path(folder) / "log"))
    return {"hash": weights_hash(module), "content": module.items.content}


def test_two_processes_have_the_same_features(tmp_path: Path, saved_models: Path) -> None:
    data = picture_log(tmp_path / "log")
    data.setup("fit")
    alone = tower_of(saved_models, text=True)
    alone.build(data.item_texts, data.training_log.item_counts(), data.item_pictures)
    alone.refresh()
    first, second = on_two_ranks(train_on_a_rank, tmp_path, str(tmp_path), str(saved_models))
    assert first["hash"] == second["hash"]
    torch.testing.assert_close(first["content"], alone.content, rtol=1e-4, atol=1e-5)
    assert torch.equal(first["content"], second["content"])


def test_a_picture_encoder_needs_pictures(tmp_path: Path, saved_models: Path) -> None:
    module = tiny_two_tower()
    module.items = tower_of(saved_models, text=False)
    with pytest.raises(
        ValueError, match=r"picture_encoder has no pictures to read: name their column with data\.picture"
    ):
        tiny_trainer(tmp_path).fit(module, datamodule=tiny_data(tmp_path / "log"))


def test_a_text_encoder_reads_no_pictures(tmp_path: Path, saved_models: Path) -> None:
    module = tiny_two_tower()
    module.items = ItemTower(picture_encoder=HuggingFaceText(str(saved_models / "minilm")))
    with pytest.raises(
        ValueError, match="picture_encoder must read images, such as HuggingFaceVision; HuggingFaceText"
    ):
        tiny_trainer(tmp_path).fit(module, datamodule=picture_log(tmp_path / "log"))


@pytest.mark.parametrize("family", ["clip", "siglip"])
def test_clip_reads_pictures(family: str, tmp_path: Path, saved_models: Path) -> None:
    clip = HuggingFaceCLIP(str(save_clip(family, tmp_path)))
    items = ItemTower(HuggingFaceText(str(saved_models / "minilm")), picture_encoder=clip, dim=8, hidden=8)
    module = TwoTower(items, HistoryTransformer(layers=1))
    tiny_trainer(tmp_path, max_epochs=1).fit(module, datamodule=picture_log(tmp_path / "log"))
    assert module.items.content.shape == (48, items.encoder.feature_dim + clip.feature_dim)
    assert not any(parameter.requires_grad for parameter in clip.parameters())

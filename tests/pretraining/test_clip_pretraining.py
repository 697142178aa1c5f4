"""CLIP: its loss, what stays as it is, its folders, and that processes, chunks and interruptions change nothing."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
import transformers
from ranks import on_two_ranks
from tiny_pairs import COLOURS, THINGS, write_colours, write_images, write_pairs
from tiny_steps import FirstStep, StopAt
from torch import Tensor
from torch.nn import functional as F

from datamodules import CaptionedImagesDataModule, ImageFolderDataModule, SatelliteDataModule
from lightning_tl.adaptation import Frozen, LoRA, TopGroups
from lightning_tl.backbones import HuggingFaceCLIP, HuggingFaceText, HuggingFaceVision, ImageTextPair, TorchvisionResNet
from lightning_tl.callbacks import ResumableCheckpoint
from lightning_tl.losses import InfoNCE
from lightning_tl.metrics.best_ranks import best_ranks
from lightning_tl.pretraining import Clip, ZeroShotProbe
from lightning_tl.pretraining.clip.pair_loss import PairLoss, is_true
from lightning_tl.strategies import ZeroShot
from lightning_tl.training.schedules import Constant

SETTINGS: dict[str, Any] = {"projection": 8, "schedule": Constant(), "lr": 3e-3}


def images(models: Path) -> HuggingFaceVision:
    return HuggingFaceVision(str(models / "vit"))


def texts(models: Path, family: str = "bert", pooling: Any = "cls") -> HuggingFaceText:
    return HuggingFaceText(str(models / family), pooling=pooling)


def clip(models: Path, **options: Any) -> Clip:
    torch.manual_seed(0)
    towers = {"backbone": images(models), "text_backbone": texts(models)}
    return Clip(**(towers | SETTINGS | options))


def pairs(path: Path, cache: Path, **options: Any) -> CaptionedImagesDataModule:
    options = {"batch_size": 8, "num_workers": 0, "seed": 1, "cache": cache, **options}
    return CaptionedImagesDataModule(path, caption=["caption", "also"], **options)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty-two images with two captions each; a quarter for validation."""
    return write_pairs(tmp_path_factory.mktemp("pairs"), 32)


def fitted(models: Path, table: Path, folder: Path, trainer: dict[str, Any] | None = None, **options: Any) -> Clip:
    module = clip(models, **options)
    tiny.tiny_trainer(folder, **{"max_epochs": 1, **(trainer or {})}).fit(
        module, datamodule=pairs(table, table.parent / "kept")
    )
    return module


# -------------------------------------------------------------------- the loss


def slow_loss(images: Tensor, texts: Tensor, known: list[set[int]], caption: list[int], temperature: float) -> float:
    """Figure 3 of the paper, pair by pair in double precision, without the columns that are true otherwise."""
    count, total = len(images), 0.0
    cosine = (images.double() @ texts.double().T / temperature).tolist()
    for i in range(count):
        row = [cosine[i][j] for j in range(count) if j == i or caption[j] not in known[i]]
        column = [cosine[j][i] for j in range(count) if j == i or caption[i] not in known[j]]
        for logits in (row, column):
            total += math.log(sum(math.exp(value) for value in logits)) - cosine[i][i]
    return total / (2 * count)


CAPTIONS = {
    "different": [{k} for k in range(6)],
    "equal": [{0}, {0}, {1}, {2}, {2}, {3}],
    "several": [{0, 9}, {1, 0}, {2}, {3, 2}, {4}, {5, 4, 1}],
    "all the same": [{0}] * 6,
}


def made_batch(known: list[set[int]]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    vectors = [F.normalize(torch.randn(len(known), 5, generator=generator), dim=1) for _ in range(2)]
    width = max(map(len, known))
    rows = torch.tensor([sorted(each) + [-1] * (width - len(each)) for each in known])
    return *vectors, rows, torch.tensor([min(each) for each in known])


@pytest.mark.parametrize("name", CAPTIONS)
def test_loss_against_a_loop(name: str) -> None:
    shown, said, rows, caption = made_batch(CAPTIONS[name])
    found = PairLoss(InfoNCE(0.1, row_chunk=2))(shown, said, rows, caption)
    assert float(found.detach()) == pytest.approx(
        slow_loss(shown, said, CAPTIONS[name], caption.tolist(), 0.1), abs=1e-5
    )
    if name == "all the same":
        assert float(found.detach()) == pytest.approx(0, abs=1e-6), "a lone caption has no wrong one: nothing to learn"


def test_the_same_image_twice_is_no_negative() -> None:
    shown, said, rows, caption = made_batch([{0, 1}, {0, 1}, {2}])
    caption = torch.tensor([0, 1, 2])  # another of its captions each time
    shown[1] = shown[0]
    found = PairLoss(InfoNCE(0.1))(shown, said, rows, caption)
    assert float(found.detach()) == pytest.approx(
        slow_loss(shown, said, [{0, 1}, {0, 1}, {2}], [0, 1, 2], 0.1), abs=1e-5
    )


# -------------------------------------------------------------------- searching


def slow_recall(scores: Tensor, right: list[list[bool]], depth: int) -> float:
    hits = 0
    for row, answers in zip(scores.tolist(), right, strict=True):
        order = sorted(range(len(row)), key=lambda j: (-row[j], answers[j]))  # wrong ones first where equal
        hits += any(answers[j] for j in order[:depth])
    return hits / len(right)


@pytest.mark.parametrize("levels", [1, 3, 1000])
def test_places_against_sorting(levels: int) -> None:
    """With few levels many candidates are equally near; with one, all are."""
    generator = torch.Generator().manual_seed(levels)
    scores = torch.randint(0, levels, (30, 40), generator=generator).float()
    right = torch.rand(30, 40, generator=generator) < 0.1
    right[:, 0] = True
    places = best_ranks(scores, torch.eye(40), lambda rows: right[rows], at_once=7)
    for depth in (1, 5, 10):
        assert float((places <= depth).float().mean()) == pytest.approx(slow_recall(scores, right.tolist(), depth))


def test_validation_searches_the_whole_split(saved_models: Path, table: Path, tmp_path: Path) -> None:
    """Recalls and loss that training logs, against loops over the module's own vectors."""
    module = clip(saved_models)
    trainer = tiny.tiny_trainer(tmp_path, max_epochs=1)
    data = pairs(table, table.parent / "kept", eval_batch_size=3)
    trainer.fit(module, datamodule=data)
    logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
    module.eval()
    records, wanted = data.records, data.indices["validation"]
    with torch.no_grad():
        shown = module.embed_images(data._whole.fetch(wanted, 0)["inputs"])
        said = [text for k in wanted for text in records.captions[int(k)]]
        words = module.embed_wordings(said)
    right = [[text in records.captions[int(k)] for text in said] for k in wanted]
    scores = shown @ words.T
    for depth in (1, 5, 10):
        assert logged[f"val_image_to_text_recall_{depth}"] == pytest.approx(slow_recall(scores, right, depth))
        turned = [list(column) for column in zip(*right, strict=True)]
        assert logged[f"val_text_to_image_recall_{depth}"] == pytest.approx(slow_recall(scores.T, turned, depth))
    known = [{said.index(text) for text in records.captions[int(k)]} for k in wanted]
    first = words[::2]
    expected = slow_loss(shown, first, known, [said.index(said[2 * k]) for k in range(len(wanted))], 0.07)
    assert logged["val_loss"] == pytest.approx(expected, rel=0.05)  # the temperature has moved a little
    assert is_true(torch.tensor([[1, -1], [2, 3]]), torch.tensor([3, 1])).tolist() == [[False, True], [True, False]]


# -------------------------------------------------------------------- training


def test_it_learns(saved_models: Path, tmp_path: Path) -> None:
    """Images of a colour find its name, and images that training did not see do, too."""
    table, towers = write_colours(tmp_path / "colours"), {"text_backbone": texts(saved_models, "minilm", "mean")}
    module = clip(saved_models, lr=1e-2, text_lr=3e-3, image_lr=3e-3, **towers)
    trainer = tiny.tiny_trainer(tmp_path, max_epochs=15)
    trainer.fit(module, datamodule=pairs(table, tmp_path / "kept"))
    found = {name: float(value) for name, value in trainer.callback_metrics.items()}
    assert found["train_loss_epoch"] < 0.6 * math.log(8)
    assert found["val_text_to_image_recall_1"] > 0.5 and found["val_image_to_text_recall_1"] > 0.5  # by chance 1 in 8
    told = json.loads((tmp_path / "model" / "provenance.json").read_text())
    assert told["objective"].startswith(f"CLIP with the texts of {saved_models / 'minilm'}, temperature 0.0")


@pytest.mark.parametrize(("tower", "other"), [("image", "text"), ("text", "image")])
def test_a_frozen_tower_stays_as_it_is(tower: str, other: str, saved_models: Path, table: Path, tmp_path: Path) -> None:
    """LiT, and the reverse: not a bit changes, no dropout, and checkpoints leave it out."""
    save = ResumableCheckpoint(monitor=None)
    module = clip(saved_models, **{f"{tower}_adaptation": Frozen()})
    parts = {"image": module.backbone, "text": module.text_backbone}
    before = {name: tiny.weights_hash(part) for name, part in parts.items()}
    tiny.tiny_trainer(tmp_path, [save], max_epochs=1).fit(module, datamodule=pairs(table, table.parent / "kept"))
    after = {name: tiny.weights_hash(part) for name, part in parts.items()}
    assert after[tower] == before[tower] and after[other] != before[other]
    module.train()
    training = {name: any(module.training for module in part.modules()) for name, part in parts.items()}
    assert training == {tower: False, other: True}
    held = torch.load(save.last_model_path, weights_only=True)["state_dict"]
    path = {"image": "backbone.", "text": "text_backbone."}
    assert not any(name.startswith(path[tower]) for name in held) and any(name.startswith(path[other]) for name in held)


def test_groups_and_rates(saved_models: Path, table: Path, tmp_path: Path) -> None:
    fresh = HuggingFaceVision(str(saved_models / "vit"), weights=False)
    module = clip(saved_models, backbone=fresh, text_adaptation=TopGroups(1), layer_decay=0.5)
    trainer = tiny.tiny_trainer(tmp_path, max_epochs=1)
    trainer.fit(module, datamodule=pairs(table, table.parent / "kept"))
    rates = module.base_rates()
    assert rates["head"] == 3e-3 and rates["image/block.1"] == 3e-3, "from nothing: as fast as the rest"
    assert rates["image/block.0"] == 1.5e-3 and rates["text/block.1"] == pytest.approx(3e-4)
    assert "text/block.0" not in rates
    names = {group["name"]: group["weight_decay"] for group in trainer.optimizers[0].param_groups}
    assert names["head/no_decay"] == 0 and names["head"] > 0


def first_step(
    models: str, table: str, folder: str, devices: int, chunk: int | None
) -> tuple[float, dict[str, Tensor]]:
    seen = FirstStep()
    strategy = "ddp" if devices > 1 else "auto"
    trainer = tiny.tiny_trainer(
        folder, [seen], max_epochs=1, max_steps=1, devices=devices, strategy=strategy, limit_val_batches=0
    )
    data = pairs(Path(table), Path(folder) / "kept", batch_size=8 // devices)
    module = clip(Path(models), chunk=chunk)
    for part in module.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0
    trainer.fit(module, datamodule=data)
    return seen.result


def check_close(found: dict[str, Tensor], whole: dict[str, Tensor]) -> None:
    assert found.keys() == whole.keys() and len(whole) > 30
    for name, gradient in whole.items():
        torch.testing.assert_close(found[name], gradient, atol=2e-6, rtol=2e-3, msg=name)


def test_two_processes_and_chunks_give_the_gradients_of_one_batch(
    saved_models: Path, table: Path, tmp_path: Path
) -> None:
    """A whole batch in one process, the same in chunks of 3, and dealt to two processes in chunks of 3."""
    loss, whole = first_step(str(saved_models), str(table), str(tmp_path / "alone"), 1, None)
    cached_loss, cached = first_step(str(saved_models), str(table), str(tmp_path / "cached"), 1, 3)
    assert cached_loss == pytest.approx(loss, abs=1e-6)
    check_close(cached, whole)
    (loss_0, first), (loss_1, second) = on_two_ranks(
        first_step, tmp_path, str(saved_models), str(table), str(tmp_path / "two"), 2, 3, seconds=300
    )
    assert (loss_0 + loss_1) / 2 == pytest.approx(loss, abs=1e-5)
    assert all(torch.equal(first[name], second[name]) for name in whole)
    check_close(first, whole)


def judged(models: str, table: str, folder: str, devices: int) -> dict[str, float]:
    strategy = "ddp" if devices > 1 else "auto"
    trainer = tiny.tiny_trainer(folder, devices=devices, strategy=strategy)
    data = pairs(Path(table), Path(folder) / "kept", eval_batch_size=3)
    probe = ZeroShotProbe(
        SatelliteDataModule(tile_size=4, labels_per_class=2, batch_size=16, seed=1), templates=("a {} boat", "the {}")
    )
    trainer.validate(clip(Path(models), zero_shot=probe), datamodule=data, verbose=False)
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


def test_two_processes_judge_as_one(saved_models: Path, table: Path, tmp_path: Path) -> None:
    alone = judged(str(saved_models), str(table), str(tmp_path / "alone"), 1)
    for found in on_two_ranks(judged, tmp_path, str(saved_models), str(table), str(tmp_path / "two"), 2, seconds=300):
        assert found == pytest.approx(alone, abs=1e-6)
    assert set(alone) >= {"val_loss", "val_image_to_text_recall_1", "val_zero_shot_accuracy"}


def test_resumes_exactly_in_mid_epoch(saved_models: Path, table: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"schedule": None, "chunk": 5}
    through = fitted(saved_models, table, tmp_path / "through", {"max_epochs": 3}, **options)
    save = ResumableCheckpoint(monitor=None, every_n_train_steps=2)
    stopped = tiny.tiny_trainer(tmp_path, [save, StopAt(4)], max_epochs=3)
    with pytest.raises(InterruptedError):
        stopped.fit(clip(saved_models, **options), datamodule=pairs(table, table.parent / "kept"))
    resumed, again = clip(saved_models, **options), tiny.tiny_trainer(tmp_path, max_epochs=3)
    again.fit(
        resumed, datamodule=pairs(table, table.parent / "kept"), ckpt_path=save.last_model_path, weights_only=True
    )
    assert again.global_step == 9 and tiny.weights_hash(resumed) == tiny.weights_hash(through)

    for other, message in (
        ({"projection": 4}, "trained with projection 8, and this run has 4: resume with the same"),
        ({"loss": InfoNCE(0.1)}, r"with temperature \[0.07\d*, True, 0.01, 1.0\] \(start, learned, lowest, highest\)"),
    ):
        with pytest.raises(ValueError, match=message):
            tiny.tiny_trainer(tmp_path, max_epochs=3).fit(
                clip(saved_models, **other),
                datamodule=pairs(table, table.parent / "kept"),
                ckpt_path=save.last_model_path,
                weights_only=True,
            )


# -------------------------------------------------------------------- what it leaves behind


@pytest.mark.parametrize("family", ["bert", "roberta", "minilm"])
def test_transformers_opens_the_folder(family: str, saved_models: Path, table: Path, tmp_path: Path) -> None:
    module = fitted(saved_models, table, tmp_path, text_backbone=texts(saved_models, family)).eval()
    folder = tmp_path / "model"
    shown = torch.randn(3, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    said = ["a red dress", "the old boat was wet", "fish"]
    with torch.no_grad():
        expected = module.embed_images(shown), module.embed_wordings(said)
    whole: Any = transformers.AutoModel.from_pretrained(folder).eval()
    assert type(whole) is transformers.VisionTextDualEncoderModel
    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(folder)
    processor: Any = transformers.AutoImageProcessor.from_pretrained(folder)
    assert tuple(processor.image_mean) == tuple(module.backbone.input_spec.mean)
    tokens = tokenizer(said, padding=True, return_tensors="pt")
    with torch.no_grad():
        out = whole(**tokens, pixel_values=shown)
    torch.testing.assert_close(out.image_embeds, expected[0], atol=2e-5, rtol=0)
    torch.testing.assert_close(out.text_embeds, expected[1], atol=2e-5, rtol=0)
    assert float(whole.logit_scale.detach().exp()) == pytest.approx(1 / module.pair_loss.loss.temperature, rel=1e-5)

    opened = HuggingFaceCLIP(str(folder)).eval()
    assert opened.input_spec == module.backbone.input_spec and opened.feature_dim == 8
    assert opened.temperature == pytest.approx(module.pair_loss.loss.temperature, rel=1e-5)
    with torch.no_grad():
        torch.testing.assert_close(F.normalize(opened(shown), dim=1), expected[0], atol=2e-5, rtol=0)
        torch.testing.assert_close(F.normalize(opened.embed_texts(said), dim=1), expected[1], atol=2e-5, rtol=0)
    names = [group.name for group in opened.layer_groups()]
    assert names[:2] == ["embeddings", "block.0"]
    opened.export(tmp_path / "exported", torch.nn.Linear(8, 2), ("a", "b"))
    again = HuggingFaceCLIP(str(tmp_path / "exported" / "backbone")).eval()
    with torch.no_grad():
        torch.testing.assert_close(again(shown), opened(shown))
    fresh = HuggingFaceCLIP(str(folder), weights=False)
    assert fresh(shown).shape == (3, 8)

    for part, kind, example in (("image", HuggingFaceVision, shown), ("text", HuggingFaceText, None)):
        backbone: Any = kind(str(folder / part)).eval()
        own: Any = module.backbone if part == "image" else module.text_backbone
        inputs = example if example is not None else own.tokenize(said)
        with torch.no_grad():
            torch.testing.assert_close(backbone(inputs), own(inputs))


def resnet(folder: Path) -> TorchvisionResNet:
    from tiny_dense import dense_backbone

    return dense_backbone("torchvision", folder)  # type: ignore[return-value]


OTHERS: dict[str, tuple[Callable[[Path, Path], dict[str, Any]], str]] = {
    "mean of tokens": (
        lambda models, folder: {"text_backbone": texts(models, pooling="mean")},
        "its texts are pooled by their first token, not by 'mean'; set pooling to cls",
    ),
    "no pooler": (
        lambda models, folder: {"text_backbone": texts(models, "distilbert")},
        "one of its towers has no pooler",
    ),
    "torchvision": (lambda models, folder: {"backbone": resnet(folder)}, "TorchvisionResNet is no model of transf"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_transformers_cannot_hold_is_said_first(
    name: str, saved_models: Path, table: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make, message = OTHERS[name]
    with caplog.at_level("INFO"):
        module = fitted(saved_models, table, tmp_path, {"limit_train_batches": 2}, **make(saved_models, tmp_path))
    said = caplog.text[caplog.text.index("The folder will hold both backbones") :]
    assert re.search(message, said)
    folder = tmp_path / "model"
    from safetensors.torch import load_file

    parts = load_file(folder / "projections.safetensors")
    assert torch.equal(parts["image_projection.weight"], module.image_projection.weight)
    assert (folder / "image").is_dir() and (folder / "text" / "config.json").is_file()
    assert not (folder / "config.json").exists(), "nothing that transformers would open as something else"
    opened, words = ImageTextPair(str(folder)).eval(), ["a red dress", "fish"]
    shown = opened.example_inputs(2)
    with torch.no_grad():
        module.eval()
        expected = module.embed_images(shown), module.embed_wordings(words)
        torch.testing.assert_close(F.normalize(opened(shown), dim=1), expected[0], atol=1e-5, rtol=0)
        torch.testing.assert_close(F.normalize(opened.embed_texts(words), dim=1), expected[1], atol=1e-5, rtol=0)
    told = json.loads((folder / "provenance.json").read_text())
    assert {"sha256_of_projections_safetensors", "sha256_of_text_model_safetensors"} <= told.keys()


def test_zero_shot_is_that_of_the_folder(saved_models: Path, table: Path, tmp_path: Path) -> None:
    """The accuracy that training logs, against the strategy with the exported folder as its backbone."""
    root = tmp_path / "labelled"
    for number, name in enumerate(("red", "green", "blue")):
        write_images(root / name, 20, side=4, seed=number)
    words = {"red": f"a {COLOURS[0]} {THINGS[0]}", "green": "a green boat", "blue": "the blue house"}
    templates = ("this is {}", "{} was old")

    def labelled() -> ImageFolderDataModule:
        return ImageFolderDataModule(root, validation_fraction=0.4, batch_size=8, num_workers=0, seed=1)

    probe = ZeroShotProbe(labelled(), words, templates)
    trainer = tiny.tiny_trainer(tmp_path, max_epochs=1)
    trainer.fit(clip(saved_models, zero_shot=probe), datamodule=pairs(table, table.parent / "kept"))
    found = float(trainer.callback_metrics["val_zero_shot_accuracy"])
    backbone = HuggingFaceCLIP(str(tmp_path / "model"))
    other = tiny.tiny_trainer(tmp_path / "zero", max_epochs=1)
    other.fit(ZeroShot(backbone, words, templates), datamodule=labelled())
    assert found == pytest.approx(float(other.callback_metrics["val_accuracy"]), abs=1e-6)
    with pytest.raises(ValueError, match="descriptions of classes that the data has not: rde; it has blue, green, red"):
        tiny.tiny_trainer(tmp_path).fit(
            clip(saved_models, zero_shot=ZeroShotProbe(labelled(), {"rde": "red"})),
            datamodule=pairs(table, table.parent / "kept"),
        )


# -------------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"projection": 0}, "projection must be at least 1, got 0"),
        ({"chunk": 0}, "chunk must be at least 1, got 0"),
        ({"layer_decay": 0.0}, r"layer_decay must be in \(0, 1\], got 0.0"),
        ({"lr": 0.0}, "lr must be above 0, got 0.0"),
        ({"image_lr": 0.0}, "image_lr must be above 0, got 0.0; set image_adaptation to lightning_tl.adaptation.Froz"),
        ({"text_lr": math.nan}, "text_lr must be above 0, got nan"),
        ({"text_lr": -1e-4}, "text_lr must be above 0, got -0.0001"),
    ],
)
def test_options(options: dict[str, Any], message: str, saved_models: Path) -> None:
    with pytest.raises(ValueError, match=message):
        clip(saved_models, **options)


def test_towers_in_each_others_place(saved_models: Path) -> None:
    with pytest.raises(ValueError, match=r"backbone must read images, .*; HuggingFaceText reads texts: it may be the"):
        clip(saved_models, backbone=texts(saved_models))
    with pytest.raises(ValueError, match=r"text_backbone must read texts, .*; HuggingFaceVision does not"):
        clip(saved_models, text_backbone=images(saved_models))


def test_temperature_bounds() -> None:
    with pytest.raises(ValueError, match=r"temperature must be between lowest \(0.01\) and highest \(1.0\)"):
        InfoNCE(0.005)


@pytest.mark.parametrize("templates", [[], "a {}", ["a photo"]])
def test_templates(templates: Any) -> None:
    with pytest.raises(ValueError, match=r"every template must have one \{\} where the description goes"):
        ZeroShotProbe(SatelliteDataModule(), templates=templates)


def test_a_loss_that_is_no_number_names_its_images(saved_models: Path, table: Path, tmp_path: Path) -> None:
    module = clip(saved_models)
    module.image_projection.weight.data.fill_(math.nan)
    with pytest.raises(
        FloatingPointError, match=r"the loss is nan at epoch 0, batch 0; samples: (\d+\.png, ){7}\d+\.png"
    ):
        tiny.tiny_trainer(tmp_path, num_sanity_val_steps=0).fit(module, datamodule=pairs(table, table.parent / "kept"))


def test_refused_before_training(saved_models: Path, table: Path, tmp_path: Path) -> None:
    def fit(module: Clip, data: Any) -> None:
        tiny.tiny_trainer(tmp_path).fit(module, datamodule=data)

    kept = table.parent / "kept"
    with pytest.raises(ValueError, match="batch_size is 1: a pair is told from the other pairs of its batch"):
        fit(clip(saved_models), pairs(table, kept, batch_size=1))
    with pytest.raises(
        ValueError, match="and LoRA adds parameters beside them: take Full, TopGroups or Frozen as text"
    ):
        fit(clip(saved_models, text_adaptation=LoRA()), pairs(table, kept))
    with pytest.raises(ValueError, match="chunk is 4, but TorchvisionResNet normalises by the batch that it sees"):
        fit(clip(saved_models, backbone=resnet(tmp_path), chunk=4), pairs(table, kept))
    with pytest.raises(ValueError, match="Clip needs batches of images with captions; set data to"):
        fit(clip(saved_models), tiny.TinyData())

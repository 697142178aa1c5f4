"""`attention`: pictures of what the class token of a run's vision transformer looks at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from numpy.typing import NDArray

from datamodules.images.image_data import ImageDataModule
from datamodules.images.loose_images import read_loose_images
from datamodules.loading.orders import EvaluationOrder
from lightning_tl.backbones import HuggingFaceVision, TimmBackbone
from lightning_tl.backbones.base import Backbone
from lightning_tl.backbones.class_token_attention import ClassTokenAttention
from lightning_tl.backbones.opening.weights_resolver import resolve_weights
from lightning_tl.cli.commands.attention_options import AttentionOptions
from lightning_tl.cli.commands.finished_run import FinishedRunCLI
from lightning_tl.cli.errors import UserError
from lightning_tl.cli.options import read_options
from lightning_tl.contracts.batches import ImageSpec
from lightning_tl.contracts.conditions import Conditions
from lightning_tl.contracts.run_description import RunDescription
from lightning_tl.embedding import backbone_of, load_trained_backbone
from lightning_tl.inputs.image_files import read_pixels
from lightning_tl.inputs.pixel_values import PixelValues, eight_bits
from lightning_tl.inputs.resizing import resized_pixels
from lightning_tl.reports.pictures.attention_picture import draw_attention
from lightning_tl.reports.progress import progress_bar
from lightning_tl.reports.summary import short_path
from lightning_tl.serving.answering import BadInputError
from lightning_tl.serving.models.image_reader import ImageReader
from lightning_tl.training.transfer_module import TransferModule

_SHOWN = 448  # most pixels of a side of the image in the picture
_AT_ONCE = 16  # images read at once

Seen = tuple[str, torch.Tensor, NDArray[np.uint8]]  # name, what the model reads [channels, side, side], what people see


def run_attention(wanted: AttentionOptions) -> None:
    """Draw, and say where.

    Args:
        wanted: from `read_attention_options`.

    Raises:
        UserError: the run or model has no class token that looks at patches, or there are no images.
    """
    if wanted.run is None:
        assert wanted.model is not None, "there is a run or a model"
        _draw_by(_opened(wanted.model), wanted)
        return
    if (wanted.run / "model" / "provenance.json").is_file():  # of pretraining, whose data need not be those
        if wanted.fields:
            raise UserError(f"{wanted.fields[0]} has no effect: of a pretraining run its folder model is read")
        _draw_by(_opened(str(wanted.run / "model")), wanted, _value_range(wanted.run))
        return
    description = RunDescription.read(wanted.run)
    if description is not None and description.image_spec is None:
        raise UserError(f"{wanted.run} reads no images: attention draws what a vision transformer looks at")
    run = ["predict", f"--run={wanted.run}", f"--data.predict_root={wanted.images}", *wanted.fields]
    AttentionCLI(wanted, read_options(run))


class AttentionCLI(FinishedRunCLI):
    """Reads a run as `predict` does, with the images in place of its data, and draws.

    Args:
        wanted: from `read_attention_options`.
        options: of the run.
    """

    def __init__(self, wanted: AttentionOptions, options: Any) -> None:
        self.wanted = wanted
        super().__init__(options)

    def instantiate_classes(self) -> None:
        """Build model and data, which are to be read for the run."""
        super().instantiate_classes()
        self.read_for_the_run()

    def run_subcommand(self, subcommand: str) -> None:
        """See the class."""
        if not isinstance(self.model, TransferModule) or not isinstance(self.datamodule, ImageDataModule):
            raise UserError(
                f"attention is for runs on images; {self.folder} trained a {type(self.model).__name__} on "
                f"{type(self.datamodule).__name__}: for a folder of weights give --model FOLDER"
            )
        load_trained_backbone(self.model, self.checkpoint)
        backbone = backbone_of(self.model)
        attention = _attention(backbone)
        data = self.datamodule
        data.serve(Conditions.of_model(backbone))
        try:
            data.prepare_data()
            data.setup("predict")
        except (ValueError, FileNotFoundError) as error:  # the images are this run's `predict_root`
            raise type(error)(str(error).replace("predict_root", "--images")) from None
        chosen = _spread(data.indices["predict"], self.wanted.count)
        _draw_all(attention, _of_data(data, chosen), len(chosen), self.wanted)


def _of_data(data: ImageDataModule, chosen: NDArray[np.int64]) -> Iterator[Seen]:
    for batch in data.reading_loader(EvaluationOrder(chosen, _AT_ONCE, 0, 1)):
        for image, index in zip(batch["inputs"], batch["index"].tolist(), strict=True):
            yield data.sample_ids([index])[0], image, _shown(data.image(index))


def _opened(model: str) -> Backbone:
    """The backbone in a folder of weights.

    Raises:
        UserError: a convolutional network of torchvision.
    """
    folder = resolve_weights(model, None, True)
    config = (folder / "config.json").read_text(encoding="utf-8") if folder.is_dir() else ""
    if '"architecture"' not in config:
        return HuggingFaceVision(model)
    if '"pretrained_cfg"' not in config:
        raise UserError(f"{model} is a ResNet of torchvision, which has no class token: take a ViT, DINOv2 or CLIP")
    return TimmBackbone(model)


def _value_range(run: Path) -> Sequence[float] | None:
    """Which values of pixels were black and white in a run of pretraining; None for all that files can hold.

    Raises:
        UserError: it read rasters by band, whose values are not those that files hold.
    """
    data = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8")).get("data")
    given: dict[str, Any] = (data.get("init_args") or {}) if isinstance(data, dict) else {}
    if {"bands", "sensor"} <= given.keys():
        raise UserError(
            f"{run} was pretrained on rasters, whose bands were chosen by name and brought to physical values, and "
            "attention reads image files as they are: train a strategy on rasters of yours from its folder model, and "
            "give that run"
        )
    found: Sequence[float] | None = given.get("value_range")
    return found


def _draw_by(backbone: Backbone, wanted: AttentionOptions, value_range: Sequence[float] | None = None) -> None:
    spec = backbone.input_spec
    assert isinstance(spec, ImageSpec), "the classes that are opened read images"
    attention = _attention(backbone)
    records = read_loose_images(wanted.images, "images")
    assert records.paths is not None
    chosen = _spread(np.arange(len(records.ids)), wanted.count)
    files = [(records.ids[k], records.paths[k]) for k in chosen.tolist()]
    for _ in _of_files(files, spec, value_range):  # what cannot be read is said before anything is drawn
        pass
    seen = _of_files(files, spec, value_range)
    _draw_all(attention, seen, len(chosen), wanted)


def _of_files(files: list[tuple[str, Path]], spec: ImageSpec, value_range: Sequence[float] | None) -> Iterator[Seen]:
    reads = {"image_size": spec.image_size, "channels": spec.channels, "mean": spec.mean, "std": spec.std}
    reader = ImageReader({**reads, "value_range": value_range})
    named = [spec.bands.index(band) for band in ("red", "green", "blue") if band in spec.bands]
    shown = named if len(named) == 3 else list(range(3)) if spec.channels >= 3 else [0, 0, 0]
    for name, path in files:
        try:
            image = torch.from_numpy(reader.prepare(path.read_bytes()))
        except (BadInputError, OSError) as error:
            why = getattr(error, "strerror", None) or str(error).removeprefix("the image cannot be read: ")
            raise OSError(f"{path} cannot be read: {why}") from None
        pixels = eight_bits(PixelValues(value_range)(read_pixels(path, spec.channels), spec.channels))
        yield name, image, _shown(np.ascontiguousarray(pixels[:, :, shown]))


def _attention(backbone: Backbone) -> ClassTokenAttention:
    found = ClassTokenAttention(backbone)
    found.backbone.to("cuda" if torch.cuda.is_available() else "cpu")
    return found


def _shown(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The square that the model sees, in the image's own pixels where these are not too many."""
    found = resized_pixels(pixels, min(_SHOWN, *pixels.shape[:2]))
    return np.asarray(found, np.uint8)


def _spread(places: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    if len(places) <= count:
        return places
    chosen: NDArray[np.int64] = places[np.linspace(0, len(places) - 1, count).round().astype(int)]
    print(f"of {len(places):,} images {count:,} are drawn, evenly over the folder; --count chooses another number")
    return chosen


def _draw_all(attention: ClassTokenAttention, seen: Iterator[Seen], count: int, wanted: AttentionOptions) -> None:
    device = next(attention.backbone.parameters()).device
    bar = progress_bar(count, "Drawing", "images")
    for name, image, shown in seen:
        found = attention(image[None].to(device))
        patches, others = found.patches[0].cpu().numpy(), found.others[0].cpu().numpy()
        path = wanted.output / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        draw_attention(shown, patches, name, path)
        if wanted.arrays:
            np.savez(path.with_name(f"{Path(name).name}.npz"), patches=patches, others=others)
        bar.update(1)
    bar.close()
    print(f"{count:,} pictures in {short_path(wanted.output)}")

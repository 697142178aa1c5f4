"""`ContinuedClip`: a CLIP that others trained, trained further."""

from __future__ import annotations

from pathlib import Path

import torch

from lightning_tl.adaptation import Adaptation
from lightning_tl.backbones.hugging_face.open_dual_encoder import open_dual_encoder
from lightning_tl.contracts.file_or_name import FileOrName
from lightning_tl.losses import InfoNCE
from lightning_tl.pretraining.clip.clip import Clip
from lightning_tl.pretraining.clip.zero_shot_probe import ZeroShotProbe
from lightning_tl.training.schedules import Schedule


class ContinuedClip(Clip):
    """A CLIP goes on from where its training ended: both towers, both projections and the temperature.

    Before the first step its vectors are those of the model that it starts from, and so is every zero-shot score. The
    folder it leaves is a `CLIPModel` again where it began as one, see `DualEncoder`. The temperature stays within 0.01
    and 1, or at least as wide as that of the model.

    Args:
        pretrained: the folder, or name on the Hugging Face hub, of a `CLIPModel`, such as
            `openai/clip-vit-base-patch32`; or a folder that `Clip` wrote.
        revision: branch, tag or commit on the hub.
        lr: learning rate of projections and temperature. The default, with AdamW over all weights, is that of Goyal et
            al. 2023 (arXiv 2212.00638), who train CLIP further with its own loss.
        image_lr: rate of the image tower's last layer group; default `lr`.
        text_lr: likewise of the text tower.
        image_adaptation: what of the image tower is trained; default all.
        text_adaptation: likewise of the text tower.
        chunk: images, or texts, encoded at once, see `Clip`.
        zero_shot: labelled images, told apart by their classes' names beside each validation.
        layer_decay: each layer group's rate is this times the rate of the group after it, in (0, 1].
        weight_decay: not applied to biases, norms and the temperature.
        schedule: of the learning rates.
        output: folder of the trained model; default `model` in the run folder.
    """

    def __init__(
        self,
        pretrained: FileOrName,
        revision: str | None = None,
        lr: float = 1e-5,
        image_lr: float | None = None,
        text_lr: float | None = None,
        image_adaptation: Adaptation | None = None,
        text_adaptation: Adaptation | None = None,
        chunk: int | None = None,
        zero_shot: ZeroShotProbe | None = None,
        layer_decay: float = 1.0,
        weight_decay: float = 0.05,
        schedule: Schedule | None = None,
        output: Path | None = None,
    ) -> None:
        start = open_dual_encoder(pretrained, revision)
        temperature = float(torch.exp(-start.log_scale.double()))
        super().__init__(
            backbone=start.image,
            text_backbone=start.text,
            projection=start.image_projection.out_features,
            loss=InfoNCE(temperature, lowest=min(0.01, temperature), highest=max(1.0, temperature)),
            lr=lr,
            image_lr=lr if image_lr is None else image_lr,
            text_lr=lr if text_lr is None else text_lr,
            image_adaptation=image_adaptation,
            text_adaptation=text_adaptation,
            chunk=chunk,
            zero_shot=zero_shot,
            layer_decay=layer_decay,
            weight_decay=weight_decay,
            schedule=schedule,
            output=output,
        )
        self.image_projection, self.text_projection = start.image_projection, start.text_projection
        self.pair_loss.loss.log_scale.data.copy_(start.log_scale)

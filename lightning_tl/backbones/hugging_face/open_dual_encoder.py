"""Open a model of images and texts as two backbones with their projections."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

from lightning_tl.backbones.hugging_face import hugging_face_loading as loading
from lightning_tl.backbones.hugging_face.dual_encoder import DualEncoder, linear
from lightning_tl.backbones.hugging_face.images.hugging_face_vision import HuggingFaceVision
from lightning_tl.backbones.hugging_face.texts.hugging_face_text import HuggingFaceText
from lightning_tl.backbones.opening.preprocessor import WHOLE_PROCESSOR
from lightning_tl.backbones.opening.weights_resolver import TOKENIZER_FILES, resolve_weights

_SAID = ("a boat", "a photo of a field beside the water")
_CLOSE = 1e-4  # between unit vectors


def open_dual_encoder(name: str, revision: str | None = None) -> DualEncoder:
    """The towers, projections and temperature of one trained model, on the CPU.

    Args:
        name: a folder that `DualEncoder.save` wrote; or the folder, or name on the hub, of a `CLIPModel`.
        revision: branch, tag or commit on the hub.

    Raises:
        FileNotFoundError: it is not there.
        ValueError: it is another model, or its weights do not fit.
    """
    if DualEncoder.is_folder(name):
        return DualEncoder.open(Path(name).expanduser())
    folder = resolve_weights(name, revision, True, (*TOKENIZER_FILES, WHOLE_PROCESSOR), None)
    if folder.is_file():
        raise ValueError(f"{name} is a file of weights; a folder with a config.json is needed")
    config = loading.read_config(folder, name)
    if config.model_type != "clip":
        raise ValueError(
            f"{name} is a '{config.model_type}' model: training goes on from a CLIPModel of transformers, such as "
            "openai/clip-vit-base-patch32, and from what lightning_tl.pretraining.Clip wrote: of others take the "
            "towers as backbone and text_backbone of lightning_tl.pretraining.Clip, whose projections begin anew"
        )
    whole = loading.open_encoder(folder, name, config)
    found = DualEncoder(
        HuggingFaceVision(name, revision=revision),
        HuggingFaceText(name, pooling="lasttoken", revision=revision),
        linear(whole.visual_projection.weight),
        linear(whole.text_projection.weight),
        whole.logit_scale.detach().clone(),
    )
    _check_equal(found, whole, name)
    return found


@torch.no_grad()
def _check_equal(found: DualEncoder, whole: Any, name: str) -> None:
    """Refuse a model whose texts are not pooled by their last token, as by a tokenizer that adds none."""
    with torch.device("cpu"):
        tokens: Any = found.text.tokenize(_SAID)
        theirs = whole.eval().get_text_features(**tokens)
        own = found.text_projection(found.text.eval()(tokens))
        expected = getattr(theirs, "pooler_output", theirs)  # a tensor before transformers 5
        found.text.train()
    if not torch.allclose(F.normalize(own, dim=1), F.normalize(expected, dim=1), atol=_CLOSE):
        raise ValueError(
            f"the tokenizer of {name} does not end texts with the token that its text tower reads "
            f"({whole.config.text_config.eos_token_id}); take tokenizer and weights from the same model"
        )

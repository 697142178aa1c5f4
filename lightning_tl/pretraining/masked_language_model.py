"""Masked-language-model pretraining of a text encoder on texts of one's own."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_tl.backbones import Backbone, HuggingFaceText
from lightning_tl.backbones.hugging_face.hugging_face_loading import quiet
from lightning_tl.backbones.opening.loading_report import check_keys
from lightning_tl.contracts.batches import UNMASKED, TextInputs
from lightning_tl.contracts.data import MaskedTokens
from lightning_tl.pretraining.pretraining import Pretraining
from lightning_tl.training.schedules import Schedule


class MaskedLanguageModel(Pretraining):
    """Train a pretrained text encoder further on unlabelled texts, to restore masked tokens.

    See Devlin et al. 2019 (arXiv 1810.04805, section 3.1); before it is adapted to a task, Gururangan et al. 2020
    (arXiv 2004.10964).

    The encoder gets the head of its family's `AutoModelForMaskedLM`: that of the pretrained folder where it holds one,
    else a fresh one whose output is tied to the word embeddings. Only masked positions go through the head. At the end
    the run folder's `model/` opens with `HuggingFaceText`, `SentenceTransformer`, `AutoModel` and, with its head,
    `AutoModelForMaskedLM`.

    The loss is the mean over a batch's masked tokens. Under DDP, and with accumulated gradients, batches weigh alike
    although they may hold a few masked tokens more or less.

    Args:
        backbone: the encoder to go on with.
        lr: learning rate at the top of the schedule.
        weight_decay: not applied to biases and norms.
        schedule: of the learning rate.
        output: folder of the trained model; default `model` in the run folder.

    Raises:
        ValueError: a backbone that reads no text, whose family has no such head, or whose file holds half of one.
    """

    samples = "texts"

    def __init__(
        self,
        backbone: HuggingFaceText,
        lr: float = 5e-5,
        weight_decay: float = 0.01,
        schedule: Schedule | None = None,
        output: Path | None = None,
    ) -> None:
        if not isinstance(backbone, HuggingFaceText):
            raise ValueError(
                "MaskedLanguageModel needs a backbone that reads texts, such as "
                f"lightning_tl.backbones.HuggingFaceText; {type(backbone).__name__} does not"
            )
        super().__init__(backbone, lr, weight_decay, schedule, output)
        self.language_model, self.fresh_head = language_model(backbone)

    def take_backbone(self, backbone: Backbone) -> None:
        """See `Pretraining`: its encoder is a part of `language_model`, so it is kept where torch does not look."""
        assert isinstance(backbone, HuggingFaceText)
        self._backbone = (backbone,)

    @property
    def backbone(self) -> HuggingFaceText:  # type: ignore[override]
        """The encoder that is trained, without its head."""
        return self._backbone[0]

    @property
    def objective(self) -> str:
        """What the encoder is trained on, for the provenance."""
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        masked = f", {data.mask_rate:.0%} of the tokens masked" if isinstance(data, MaskedTokens) else ""
        return f"masked language model from {self.backbone.arguments['pretrained']}{masked}"

    @property
    def resumed_settings(self) -> dict[str, Any]:
        """See `Pretraining`."""
        data: Any = None if self._trainer is None else self.trainer.datamodule  # type: ignore[attr-defined]
        return {"mask_rate": data.mask_rate} if isinstance(data, MaskedTokens) else {}

    def forward(self, inputs: TextInputs, wanted: Tensor | None = None) -> Tensor:
        """Logits of the tokens.

        Args:
            inputs: tokens with their mask, [batch, tokens] each.
            wanted: [batch, tokens], true at the positions to compute; None for all.

        Returns:
            [batch, tokens, vocabulary], or [number of wanted positions, vocabulary].
        """
        if wanted is None:
            every: Tensor = self.language_model(**inputs).logits
            return every
        with _only(wanted, self.backbone.model):
            logits: Tensor = self.language_model(**inputs).logits
        return logits[0]

    def step(self, batch: dict[str, Any]) -> tuple[Tensor, int]:
        """The mean loss over the masked tokens, in nats, and their number.

        Raises:
            ValueError: for a batch without labels of tokens.
        """
        if "labels" not in batch:
            raise ValueError(
                "MaskedLanguageModel needs batches of masked texts; set data to datamodules.UnlabelledTextDataModule"
            )
        wanted = batch["labels"] != UNMASKED
        labels = batch["labels"][wanted]
        total = F.cross_entropy(self(batch["inputs"], wanted).float(), labels, reduction="sum")
        return total / max(1, len(labels)), len(labels)  # without masked tokens: 0, with gradients of 0

    # ---------------------------------------------------------------- training

    def setup(self, stage: str) -> None:
        """Say whether the head for masked tokens is a new one."""
        if stage == "fit" and self.fresh_head:
            name = self.backbone.arguments["pretrained"]
            rank_zero_info(
                f"{name} holds no head for masked tokens: a new one, tied to the word embeddings, is trained"
            )

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """One batch's loss, logged."""
        loss, _ = self.step(batch)
        self.log_training(loss, batch)
        return loss

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """One batch of the validation split."""
        loss, masked = self.step(batch)
        self.log("val_loss", loss, on_epoch=True, prog_bar=True, sync_dist=True, batch_size=masked)

    def on_validation_epoch_end(self) -> None:
        """Log the perplexity."""
        loss = self.trainer.callback_metrics.get("val_loss")
        if loss is not None:  # the mean over all ranks
            self.log("val_perplexity", loss.exp(), prog_bar=True, sync_dist=True)
        super().on_validation_epoch_end()

    # ---------------------------------------------------------------- what it leaves behind

    def save(self, folder: Path) -> None:
        """Write encoder, head, tokenizer and what a sentence-transformers model says of its pooling."""
        self.backbone.save(folder, self.language_model)


@contextmanager
def _only(wanted: Tensor, encoder: nn.Module) -> Iterator[None]:
    """Let the encoder hand over these positions alone, [1, positions, dim]: heads read each position by itself."""

    def pick(module: nn.Module, arguments: tuple[Any, ...], output: Any) -> Any:
        output.last_hidden_state = output.last_hidden_state[wanted].unsqueeze(0)
        return output

    hook = encoder.register_forward_hook(pick)
    try:
        yield
    finally:
        hook.remove()


def language_model(backbone: HuggingFaceText) -> tuple[Any, bool]:
    """The family's model for masked tokens around the backbone's own encoder, and whether its head is fresh.

    Raises:
        ValueError: the family has no such head, or the pretrained folder holds only a part of one.
    """
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING as FAMILIES

    encoder, name = backbone.model, backbone.arguments["pretrained"]
    if type(encoder.config) not in FAMILIES:
        raise ValueError(
            f"{name} is a '{encoder.config.model_type}' model, for which transformers has no head for masked tokens; "
            "take a model such as BERT, RoBERTa, DeBERTa or ModernBERT"
        )
    model = _with_head_of(Path(backbone.input_spec.tokenizer), encoder, name) if backbone.arguments["weights"] else None
    fresh = model is None
    if model is None:
        model = _with_fresh_head(encoder.config)
    inner = getattr(model, model.base_model_prefix, None)
    if type(inner) is not type(encoder):
        raise ValueError(
            f"the head for masked tokens of a '{encoder.config.model_type}' model does not fit its encoder"
        )
    setattr(model, model.base_model_prefix, encoder)
    model.tie_weights()
    return model, fresh


def _with_fresh_head(config: Any) -> Any:
    import transformers

    config = copy.deepcopy(config)
    config.tie_word_embeddings = True
    families: Any = transformers.AutoModelForMaskedLM
    return families.from_config(config)


def _with_head_of(folder: Path, encoder: Any, name: str) -> Any:
    """The model with the head that the folder's weights hold; None where they hold none."""
    model, info = _open(folder, encoder.config)
    # DeBERTa v3 keeps its head under other names, which transformers reads when told that it is not a `legacy` one.
    if hasattr(encoder.config, "legacy") and any(key.startswith("lm_predictions.") for key in info["unexpected_keys"]):
        model, info = _open(folder, encoder.config, legacy=False)
    head = {key for key, _ in model.named_parameters() if not key.startswith(f"{model.base_model_prefix}.")}
    missing = head & set(info["missing_keys"])
    if missing == head:
        return None
    differ = [found for found in info["mismatched_keys"] if found[0] in head]
    check_keys(f"{name}, their head for masked tokens,", missing, [], differ)
    return model


def _open(folder: Path, config: Any, **changes: Any) -> tuple[Any, dict[str, Any]]:
    import transformers

    config = copy.deepcopy(config)
    config.update(changes)
    with quiet():
        model, info = transformers.AutoModelForMaskedLM.from_pretrained(
            folder,
            config=config,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            dtype=torch.float32,
            trust_remote_code=False,
        )
    return model, info

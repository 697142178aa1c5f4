"""Prompt tuning: learned vectors before the words of a text, by PEFT."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lightning_tl.adaptation.added.adapted_folder import write_adapted
from lightning_tl.adaptation.added.lora import import_peft
from lightning_tl.adaptation.added.trial_run import trial_run
from lightning_tl.adaptation.base import Adaptation, check_trains
from lightning_tl.backbones import HuggingFaceText
from lightning_tl.backbones.added_parameters import base_of, check_nothing_added
from lightning_tl.backbones.base import Backbone
from lightning_tl.backbones.graph_leaves import reached_leaves


class Prompts(Adaptation):
    """Freeze the backbone and learn the embeddings of virtual tokens before the text (Lester et al., 2021, section 2).

    They are read by every layer, but their own outputs are not pooled: the features are those of the text's tokens.

    Args:
        tokens: how many virtual tokens.
        text: whose words they start from, repeated or cut to fit; default words drawn from the vocabulary (section
            3.2 of the paper finds both better than random vectors).
    """

    rate = 1.0

    def __init__(self, tokens: int = 20, text: str | None = None) -> None:
        if tokens < 1:
            raise ValueError(f"prompt tuning needs at least 1 virtual token, got {tokens}")
        if text is not None and not text.strip():
            raise ValueError("the text that prompts start from is empty; leave it out to draw words")
        self.tokens, self.text = tokens, text
        self.arguments = {"tokens": tokens, "text": text}

    def apply(self, backbone: Backbone) -> None:
        """Put the virtual tokens before the model's input.

        Raises:
            ValueError: the backbone reads no text, has no room for them beside its longest text, or takes no vectors
                in place of words.
            ModuleNotFoundError: PEFT is not installed.
        """
        peft = import_peft()
        if not isinstance(backbone, HuggingFaceText):
            raise ValueError(f"Prompts needs a HuggingFaceText, got {type(backbone).__name__}; see VisualPrompts")
        check_nothing_added(backbone)
        check_trains(backbone, "Prompts")
        limit, why = backbone.position_limit()
        longest = backbone.input_spec.max_length
        if longest + self.tokens > limit:
            raise ValueError(
                f"{self.tokens} virtual tokens and texts of up to {longest} are more than {limit}, {why}: set the "
                f"backbone's max_length to at most {limit - self.tokens}"
            )
        words = backbone.model.get_input_embeddings()
        if not isinstance(words(torch.zeros(1, 1, dtype=torch.long, device=words.weight.device)), torch.Tensor):
            raise ValueError(
                f"Prompts cannot stand before the words of {type(backbone.model).__name__}, whose "
                f"{type(words).__name__} gives more than their vectors; use Full or TopGroups"
            )
        backbone.base = base_of(backbone)
        with torch.inference_mode(False):  # else no gradient could be computed
            prompts = peft.PromptEmbedding(self.config(backbone), words).to(words.weight)
        backbone.model.add_module("prompts", prompts)
        hooks = [
            backbone.model.register_forward_pre_hook(_put_before, with_kwargs=True),
            backbone.model.register_forward_hook(_take_away),
        ]
        try:
            reached = id(prompts.embedding.weight) in reached_leaves(trial_run(backbone, gradients=True))
            reason = "no gradient reaches them"
        except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
            reached, reason = False, (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        if not reached:
            for hook in hooks:
                hook.remove()
            del backbone.model.prompts
            raise ValueError(
                f"{type(backbone.model).__name__} takes no vectors in place of words, which Prompts needs ({reason}); "
                "use another adaptation"
            )
        backbone.requires_grad_(False)
        prompts.requires_grad_(True)

    def config(self, backbone: HuggingFaceText, **more: Any) -> Any:
        """PEFT's configuration."""
        peft = import_peft()
        start = peft.PromptTuningInit.SAMPLE_VOCAB if self.text is None else peft.PromptTuningInit.TEXT
        model = backbone.model
        return peft.PromptTuningConfig(
            task_type="FEATURE_EXTRACTION",
            num_virtual_tokens=self.tokens,
            num_transformer_submodules=1,
            token_dim=model.get_input_embeddings().embedding_dim,
            num_layers=getattr(model.config, "num_hidden_layers", 1),  # these two no prompt tuning reads
            num_attention_heads=getattr(model.config, "num_attention_heads", 1),
            prompt_tuning_init=start,
            prompt_tuning_init_text=self.text,
            tokenizer_name_or_path=None if self.text is None else backbone.input_spec.tokenizer,
            **more,
        )

    def export(
        self, folder: Path, backbone: Backbone, head: nn.Module, class_names: Sequence[str], trained: Collection[str]
    ) -> str:
        """Write prompts and head alone, and beside them the folder `adapter`: the prompts for PEFT.

        `peft.PeftModel.from_pretrained(AutoModel.from_pretrained(…), folder)` gives the hidden states of the virtual
        tokens first, then those of the text. See `Adaptation`.
        """
        from safetensors.torch import save_file

        assert isinstance(backbone, HuggingFaceText)
        adapter = folder.parent / "adapter"
        config = self.config(backbone, base_model_name_or_path=backbone.arguments["pretrained"], inference_mode=True)
        config.save_pretrained(str(adapter))
        prompts = backbone.model.prompts.embedding.weight.detach().cpu().contiguous()
        save_file({"prompt_embeddings": prompts}, adapter / "adapter_model.safetensors", metadata={"format": "pt"})
        return write_adapted(folder, self, backbone, head, class_names, trained)


def _put_before(model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    ids, mask = kwargs.pop("input_ids"), kwargs["attention_mask"]
    words = model.get_input_embeddings()(ids)  # [batch, tokens, dim]
    weight = model.prompts.embedding.weight
    prompts = weight.to(words.dtype).expand(ids.shape[0], -1, -1)
    kwargs["inputs_embeds"] = torch.cat([prompts, words], 1)
    kwargs["attention_mask"] = torch.cat([mask.new_ones(ids.shape[0], len(weight)), mask], 1)
    if (segments := kwargs.get("token_type_ids")) is not None:
        kwargs["token_type_ids"] = torch.cat([segments.new_zeros(ids.shape[0], len(weight)), segments], 1)
    return args, kwargs


def _take_away(model: Any, args: Any, output: Any) -> Any:
    output.last_hidden_state = output.last_hidden_state[:, len(model.prompts.embedding.weight) :]
    return output

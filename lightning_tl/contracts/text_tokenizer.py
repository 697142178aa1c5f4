"""The tokenizer of a text backbone, prepared in one way for training, prediction, export and embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lightning_tl.contracts.batches import TextSpec


def load_tokenizer(spec: TextSpec) -> Any:
    """The backbone's own tokenizer: it pads on the right, and lower-cases where the weights were trained so.

    A tokenizer without a padding token pads with the token that ends a sequence; the attention mask hides it.

    Raises:
        ValueError: there is none, it is not the model's, or it cannot pad.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(spec.tokenizer, trust_remote_code=False)
    except (OSError, ValueError, KeyError, ImportError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"{spec.tokenizer} has no tokenizer that can be opened ({reason}); put tokenizer.json beside config.json"
        ) from None
    if len(tokenizer) > spec.vocab_size:
        raise ValueError(
            f"the tokenizer in {spec.tokenizer} has {len(tokenizer):,} tokens, but the model's vocabulary has "
            f"{spec.vocab_size:,}: they belong to different models. Take tokenizer and weights from the same model"
        )
    tokenizer.padding_side = "right"
    if tokenizer.pad_token_id is None:
        ends = (tokenizer.eos_token, tokenizer.sep_token, tokenizer.unk_token)
        ending = next((token for token in ends if token is not None), None)
        if ending is None:
            raise ValueError(
                f"the tokenizer in {spec.tokenizer} has no padding token and none that ends a sequence; set one and "
                "save it again"
            )
        tokenizer.pad_token = ending
    if spec.lower_case:
        _lower_case(tokenizer)
    return tokenizer


def encode(
    tokenizer: Any, texts: Sequence[str], seconds: Sequence[str] | None, spec: TextSpec, most: int | None = None
) -> dict[str, list[Any]]:
    """Token numbers without padding, and `token_type_ids` where the model reads them.

    The prompt comes before each (first) text. A text without any token is read as one padding token.

    Args:
        tokenizer: of `load_tokenizer(spec)`.
        texts: of pairs, the first of each.
        seconds: second texts of pairs.
        spec: what the model reads.
        most: tokens of a text, where the spec's `max_length` is more.

    Returns:
        `input_ids`, perhaps `token_type_ids`, and `cut`: whether a text was longer, as 0 or 1.
    """
    prepared = [spec.prompt + text for text in texts] if spec.prompt else list(texts)
    given = (prepared,) if seconds is None else (prepared, list(seconds))
    length = min(spec.max_length, most or spec.max_length)
    found = tokenizer(
        *given,
        truncation="longest_first",
        max_length=length,
        return_token_type_ids=spec.segments,
        return_attention_mask=False,
    )
    if found.encodings is not None:
        cut = [int(bool(encoding.overflowing)) for encoding in found.encodings]
    else:  # a tokenizer written in Python does not say what it cut
        whole = tokenizer(*given, return_attention_mask=False, return_token_type_ids=False)["input_ids"]
        cut = [int(len(ids) > length) for ids in whole]
    padding = int(tokenizer.pad_token_id)
    columns: dict[str, list[Any]] = {"input_ids": [list(ids) or [padding] for ids in found["input_ids"]], "cut": cut}
    if spec.segments:
        columns["token_type_ids"] = [list(kinds) or [0] for kinds in found["token_type_ids"]]
    return columns


def _lower_case(tokenizer: Any) -> None:
    """Lower-case texts before all else, as sentence-transformers does for `do_lower_case`."""
    from tokenizers import normalizers

    if not tokenizer.is_fast:
        tokenizer.do_lower_case = True
        return
    backend = tokenizer.backend_tokenizer
    own = backend.normalizer
    inside: list[Any] = [*own] if isinstance(own, normalizers.Sequence) else [own]  # type: ignore[misc]
    if not any(isinstance(step, normalizers.Lowercase) for step in inside):
        kept = [step for step in inside if step is not None]
        backend.normalizer = normalizers.Sequence([normalizers.Lowercase(), *kept])

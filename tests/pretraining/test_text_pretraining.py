"""Pretraining on unlabelled texts: which tokens are masked, what is learned, and the folder that is left behind."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pandas as pd
import pytest
import tiny
import torch
import transformers
from cli_runs import error_of
from ranks import on_two_ranks
from safetensors.torch import load_file, save_file
from tiny_text import SPECIAL, TINY_TEXT, VOCABULARY, WORDS, save_text_model, save_tokenizer
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoTokenizer

from datamodules import UnlabelledTextDataModule
from datamodules.loading.seeding import sample_keys, uniforms
from datamodules.texts.masked_tokens import MaskedTokens
from datamodules.texts.text_data import REVIEWS
from lightning_tl.backbones import HuggingFaceText, HuggingFaceVision
from lightning_tl.callbacks import ResumableCheckpoint
from lightning_tl.cli import main
from lightning_tl.contracts.batches import ImageSpec, TextSpec
from lightning_tl.contracts.conditions import Conditions
from lightning_tl.pretraining import MaskedLanguageModel
from lightning_tl.training.schedules import Constant

FRESH = ("electra", "minilm")  # families whose folder holds no head for masked tokens


def sentences(count: int) -> list[str]:
    """Texts whose words follow from one another: the alphabet of the vocabulary, from a place onwards."""
    random = np.random.default_rng(0)
    starts, lengths = random.integers(0, len(WORDS) - 12, count), random.integers(3, 12, count)
    return [" ".join(WORDS[start : start + length]) for start, length in zip(starts, lengths, strict=True)]


def table(folder: Path, count: int = 96, **columns: Any) -> Path:
    pd.DataFrame({"text": sentences(count), **columns}).to_csv(folder / "texts.csv", index=False)
    return folder / "texts.csv"


def data_of(folder: Path, **options: Any) -> UnlabelledTextDataModule:
    given = {"path": str(folder / "texts.csv"), "cache": folder / "cache", "batch_size": 8, "seed": 3}
    return UnlabelledTextDataModule(**(given | options))


def ready(data: UnlabelledTextDataModule, spec: TextSpec | ImageSpec) -> UnlabelledTextDataModule:
    """The data module as it serves such a backbone."""
    data.serve(Conditions(spec, "TinyBackbone"))
    data.prepare_data()
    data.setup("fit")
    return data


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> TextSpec:
    folder = tmp_path_factory.mktemp("tokenizer")
    save_tokenizer(folder)
    return TextSpec(str(folder), 30, VOCABULARY)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    return {family: save_text_model(family, folder) for family in TINY_TEXT}


def language_model(folder: Path, **options: Any) -> MaskedLanguageModel:
    torch.manual_seed(0)
    return MaskedLanguageModel(HuggingFaceText(str(folder)), **options)


# ---------------------------------------------------------------- masking


class Tokens:
    """Random texts of ordinary tokens between two special ones, padded on the right."""

    def __init__(self, count: int, longest: int = 40) -> None:
        random = np.random.default_rng(0)
        self.lengths = random.integers(3, longest + 1, count)
        self.tokens = random.integers(len(SPECIAL), VOCABULARY, (count, longest))
        for row, length in zip(self.tokens, self.lengths, strict=True):
            row[0], row[length - 1], row[length:] = SPECIAL.index("[CLS]"), SPECIAL.index("[SEP]"), 0

    def fetch(self, indices: Any, epoch: int) -> dict[str, Any]:
        width = self.lengths[indices].max()
        mask = np.arange(width) < self.lengths[indices][:, None]
        inputs = {"input_ids": torch.tensor(self.tokens[indices, :width]), "attention_mask": torch.tensor(mask).long()}
        return {"inputs": inputs}


def masked(spec: TextSpec, tokens: Tokens, seed: int = 1, rate: float = 0.15) -> MaskedTokens:
    return MaskedTokens(tokens, AutoTokenizer.from_pretrained(spec.tokenizer), seed, rate)


def slowly_masked(tokens: list[int], seed: int, epoch: int, index: int, rate: float) -> tuple[list[int], list[int]]:
    """One text, token by token."""
    keys = [sample_keys([index], seed, what, epoch) for what in ("masked", "mask action", "mask token")]
    order, action, other = (uniforms(key, len(tokens))[0].tolist() for key in keys)
    ordinary = [place for place, token in enumerate(tokens) if token >= len(SPECIAL)]
    count = min(len(ordinary), max(1, math.floor(rate * len(ordinary) + 0.5)))
    labels, hidden = [-100] * len(tokens), list(tokens)
    for place in sorted(ordinary, key=lambda place: order[place])[:count]:
        labels[place] = tokens[place]
        if action[place] < 0.8:
            hidden[place] = SPECIAL.index("[MASK]")
        elif action[place] < 0.9:
            hidden[place] = len(SPECIAL) + int(other[place] * (VOCABULARY - len(SPECIAL)))
    return hidden, labels


@pytest.mark.parametrize("rate", [0.01, 0.15, 0.4, 0.99])
def test_masks_are_those_of_a_slow_loop(rate: float, spec: TextSpec) -> None:
    tokens = Tokens(40)
    indices = np.random.default_rng(1).permutation(40)[:25]
    batch = masked(spec, tokens, seed=5, rate=rate).fetch(indices, 2)
    plain = tokens.fetch(indices, 2)["inputs"]
    for row, index in enumerate(indices.tolist()):
        expected = slowly_masked(plain["input_ids"][row].tolist(), 5, 2, index, rate)
        assert (batch["inputs"]["input_ids"][row].tolist(), batch["labels"][row].tolist()) == expected
    assert torch.equal(batch["inputs"]["attention_mask"], plain["attention_mask"])
    assert batch["index"].tolist() == indices.tolist()


def test_shares_of_masked_random_and_kept_tokens(spec: TextSpec) -> None:
    tokens = Tokens(4000)
    batch = masked(spec, tokens).fetch(np.arange(4000), 0)
    inputs, labels = batch["inputs"]["input_ids"], batch["labels"]
    plain = tokens.fetch(np.arange(4000), 0)["inputs"]["input_ids"]
    chosen = labels != -100
    ordinary = plain >= len(SPECIAL)
    assert not (chosen & ~ordinary).any() and torch.equal(labels[chosen], plain[chosen])
    assert torch.equal(inputs[~chosen], plain[~chosen])
    assert chosen.any(1).all(), "at least one in every text"
    long = ordinary.sum(1) >= 20
    assert chosen[long].sum() / ordinary[long].sum() == pytest.approx(0.15, abs=0.003)
    per_text = (chosen.sum(1) / ordinary.sum(1))[long]
    assert per_text.min() > 0.12 and per_text.max() < 0.18

    was, now = plain[chosen], inputs[chosen]
    is_mask = now == SPECIAL.index("[MASK]")
    changed = (now != was) & ~is_mask
    words = VOCABULARY - len(SPECIAL)
    assert is_mask.float().mean() == pytest.approx(0.8, abs=0.012)
    assert changed.float().mean() == pytest.approx(0.1 * (1 - 1 / words), abs=0.008)
    assert now[~is_mask].min() >= len(SPECIAL), "random tokens are not special"
    counts = torch.bincount(now[changed], minlength=VOCABULARY)[len(SPECIAL) :]
    assert counts.min() > 0.4 * counts.float().mean() and counts.max() < 2 * counts.float().mean()
    places = torch.bincount(chosen.nonzero()[:, 1][long[chosen.nonzero()[:, 0]]], minlength=40)[1:19].float()
    assert places.min() > 0.75 * places.mean() and places.max() < 1.25 * places.mean(), "anywhere in a text"


def test_masks_are_a_function_of_seed_epoch_and_index(spec: TextSpec) -> None:
    tokens = Tokens(60)
    first = masked(spec, tokens)
    whole = first.fetch(np.arange(60), 3)
    for index in (0, 17, 59):
        alone = first.fetch(np.array([index]), 3)
        width = alone["labels"].shape[1]
        assert torch.equal(alone["labels"][0], whole["labels"][index, :width])
        assert torch.equal(alone["inputs"]["input_ids"][0], whole["inputs"]["input_ids"][index, :width])
    for other in (first.fetch(np.arange(60), 4), masked(spec, tokens, seed=2).fetch(np.arange(60), 3)):
        assert ((other["labels"] != -100) != (whole["labels"] != -100)).any(1).float().mean() > 0.8


def test_texts_of_special_tokens_alone_have_no_labels(spec: TextSpec, models: dict[str, Path]) -> None:
    tokens = Tokens(2)
    tokens.lengths[:] = 4
    tokens.tokens[:] = 0
    tokens.tokens[:, 1:3] = SPECIAL.index("[UNK]")
    batch = masked(spec, tokens).fetch(np.arange(2), 0)
    assert (batch["labels"] == -100).all()
    module = language_model(models["bert"])
    loss, count = module.step(dict(batch))
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss == 0 and count == 0
    assert all(parameter.grad is not None and not parameter.grad.any() for parameter in module.parameters())


# ---------------------------------------------------------------- texts


def test_only_training_and_validation_rows_are_read(spec: TextSpec, tmp_path: Path) -> None:
    splits = (["train"] * 4 + ["val", "test"]) * 16
    table(tmp_path, part=splits)
    data = ready(data_of(tmp_path, split="part", drop_last=False), spec)
    rows = {name: {data.sample_ids([k])[0] for k in found} for name, found in data.indices.items()}
    assert rows["train"] == {f"row-{k + 1}" for k, split in enumerate(splits) if split == "train"}
    assert rows["validation"] == {f"row-{k + 1}" for k, split in enumerate(splits) if split == "val"}
    assert len(data.tokens) == 80, "test rows are not even tokenised"
    tokenizer = AutoTokenizer.from_pretrained(spec.tokenizer)
    for loader, name in ((data.train_dataloader(), "train"), (data.val_dataloader(), "validation")):
        seen = []
        for batch in loader:
            restored = batch["inputs"]["input_ids"].where(batch["labels"] == -100, batch["labels"])
            texts = tokenizer.batch_decode(restored, skip_special_tokens=True)
            assert texts == [data.sample_text(int(k)) for k in batch["index"]]
            seen += batch["index"].tolist()
        assert sorted(seen) == data.indices[name].tolist()


@pytest.mark.parametrize("columns", [{}, {"split": ["train"] * 96}], ids=["no splits", "training rows only"])
def test_some_texts_are_for_validation(columns: dict[str, Any], spec: TextSpec, tmp_path: Path) -> None:
    texts = [text.upper() if k % 3 else f" {text} " for k, text in enumerate(sentences(32) * 3)]
    table(tmp_path, **{**columns, "text": texts})
    options = {"validation_fraction": 0.2, "length_grouped": False}
    data = ready(data_of(tmp_path, **options), spec)
    sides = {name: {texts[k].strip().lower() for k in found} for name, found in data.indices.items()}
    assert not sides["train"] & sides["validation"], "equal texts lie on one side"
    assert 3 <= len(sides["validation"]) <= 10
    again = ready(data_of(tmp_path, **options, seed=9), spec)
    assert again.indices["validation"].tolist() == data.indices["validation"].tolist(), "whatever the seed of the run"


def test_validation_is_masked_alike_and_training_anew(spec: TextSpec, tmp_path: Path) -> None:
    table(tmp_path)
    data = ready(data_of(tmp_path, validation_fraction=0.3), spec)

    def masks(loader: Any, epoch: int) -> dict[int, list[int]]:
        loader.set_epoch(epoch)
        return {
            int(k): row[row != -100].tolist() for b in loader for k, row in zip(b["index"], b["labels"], strict=True)
        }

    validation, training = data.val_dataloader(), data.train_dataloader()
    assert masks(validation, 0) == masks(validation, 1)
    first, second = masks(training, 0), masks(training, 1)
    assert sum(first[k] != second[k] for k in first.keys() & second.keys()) > 0.5 * len(first)


def test_pairs(models: dict[str, Path], tmp_path: Path) -> None:
    table(tmp_path, question=sentences(96)[::-1])
    data = ready(data_of(tmp_path, text=["question", "text"]), HuggingFaceText(str(models["bert"])).input_spec)
    batch = next(iter(data.val_dataloader()))
    assert set(batch["inputs"]["token_type_ids"].unique().tolist()) == {0, 1}
    assert data.sample_text(0) == f"{sentences(96)[-1]}\n{sentences(96)[0]}"


def test_the_reviews_that_ship(models: dict[str, Path], tmp_path: Path) -> None:
    data = UnlabelledTextDataModule(cache=tmp_path)
    data._read()
    splits = pd.read_parquet(REVIEWS)["split"]
    assert {name: len(found) for name, found in data.indices.items()} == {
        name: int((splits == name).sum()) for name in ("train", "validation")
    }


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ({}, {"text": "txt"}, "has no column 'txt'; did you mean text"),
        ({}, {"split": "fold"}, "has no column 'fold'.*Set split"),
        ({"text": ["", None, *sentences(94)]}, {}, "2 rows of .* have no text: rows 1, 2; drop them, or set on_empty"),
        ({"split": ["test"] * 96}, {}, r"has no rows to train on \(column 'split' has test 96\): mark rows as train"),
        ({"split": ["dev", "test"] * 48}, {}, r"no rows to train on \(column 'split' has test 48, validation 48\)"),
        ({"split": ["train", "x"] * 48}, {}, "must hold train, validation or test, got x"),
        ({"text": ["it is", "It  is"] * 48}, {}, "has 1 different text to train on; at least 2 are needed"),
        ({}, {"max_length": 31}, "at most the backbone's 30 tokens, got 31"),
        ({}, {"max_length": 2}, "max_length must be at least 3"),
        ({}, {"text": ["a", "b", "c"]}, "text must be one column or two, got 3"),
        ({}, {"on_empty_text": "drop"}, "on_empty_text must be 'error' or 'skip'"),
        ({}, {"mask_rate": 0.0}, r"mask_rate is a share of the tokens and must be in \(0, 1\), got 0.0"),
        ({}, {"mask_rate": 1}, r"mask_rate .* must be in \(0, 1\), got 1"),
        ({}, {"validation_fraction": 0}, r"validation_fraction must be in \(0, 1\), got 0"),
    ],
)
def test_bad_data(columns: Any, options: dict[str, Any], message: str, spec: TextSpec, tmp_path: Path) -> None:
    table(tmp_path, **columns)
    with pytest.raises(ValueError, match=message):
        ready(data_of(tmp_path, **options), spec)


def test_empty_texts_are_skipped_on_request(spec: TextSpec, tmp_path: Path) -> None:
    table(tmp_path, text=[None, *sentences(95)])
    with pytest.warns(UserWarning, match="1 rows of .* have no text: row 1; they are left out"):
        data = ready(data_of(tmp_path, on_empty_text="skip"), spec)
    assert data.sample_ids([0]) == ["row-2"]


def test_a_tokenizer_without_a_mask_token(tmp_path: Path) -> None:
    save_tokenizer(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    tokenizer.mask_token = None
    tokenizer.save_pretrained(tmp_path)
    table(tmp_path)
    with pytest.raises(ValueError, match=r"the tokenizer in .* has no mask token.*take a model that was, such as BERT"):
        ready(data_of(tmp_path), TextSpec(str(tmp_path), 30, VOCABULARY))
    assert not (tmp_path / "cache").exists(), "nothing long was done before"


def test_a_backbone_that_reads_images(tmp_path: Path) -> None:
    table(tmp_path)
    with pytest.raises(
        ValueError, match=r"UnlabelledTextDataModule needs a backbone that reads texts, such as .*Text;"
    ):
        ready(data_of(tmp_path), ImageSpec(8, 3, (0.5,) * 3, (0.5,) * 3))
    transformers.ViTModel(transformers.ViTConfig(**TINY_VIT)).save_pretrained(tmp_path / "vit")
    vision: Any = HuggingFaceVision(str(tmp_path / "vit"))
    with pytest.raises(ValueError, match=r"needs a backbone that reads texts, such as .*; HuggingFaceVision does not"):
        MaskedLanguageModel(vision)


TINY_VIT = {
    **{"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16},
    **{"image_size": 8, "patch_size": 4},
}


# ---------------------------------------------------------------- the model


@pytest.mark.parametrize("family", TINY_TEXT)
def test_logits_and_gradients_are_those_of_the_whole_family_model(family: str, models: dict[str, Path]) -> None:
    """Against `AutoModelForMaskedLM` over all positions, with the labels that its own loss takes."""
    module = language_model(models[family]).eval()
    assert module.fresh_head == (family in FRESH)
    inputs = module.backbone.example_inputs(6)
    wanted = (torch.rand(inputs["input_ids"].shape, generator=torch.Generator().manual_seed(0)) < 0.4) & (
        inputs["attention_mask"] == 1
    )
    labels = inputs["input_ids"].where(wanted, torch.tensor(-100))
    if family in FRESH:  # its own model, with the same fresh head
        reference: Any = transformers.AutoModelForMaskedLM.from_config(module.language_model.config)
        reference.load_state_dict(module.language_model.state_dict())
    else:
        reference = transformers.AutoModelForMaskedLM.from_pretrained(models[family])
    output = reference.eval()(**inputs, labels=labels)
    full = reference(**inputs).logits
    torch.testing.assert_close(module(inputs), full)
    torch.testing.assert_close(module(inputs, wanted), full[wanted])
    loss, count = module.step({"inputs": inputs, "labels": labels})
    torch.testing.assert_close(loss, output.loss)
    assert count == int(wanted.sum())
    loss.backward()  # type: ignore[no-untyped-call]
    output.loss.backward()
    expected = dict(reference.named_parameters())
    for name, parameter in module.language_model.named_parameters():
        assert parameter.grad is not None, f"DDP would wait for {name} for ever"
        torch.testing.assert_close(parameter.grad, expected[name].grad, atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize("family", FRESH)
def test_a_fresh_head_is_tied_and_said_to_be_fresh(
    family: str, models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = language_model(models[family])
    embeddings = module.language_model.get_input_embeddings().weight
    assert module.language_model.get_output_embeddings().weight is embeddings
    assert embeddings is module.backbone.model.get_input_embeddings().weight
    said: list[str] = []
    monkeypatch.setattr("lightning_tl.pretraining.masked_language_model.rank_zero_info", said.append)
    module.setup("fit")
    assert said == [
        f"{models[family]} holds no head for masked tokens: a new one, tied to the word embeddings, is trained"
    ]
    language_model(models["bert"]).setup("fit")
    assert len(said) == 1


def test_an_architecture_without_weights_has_a_fresh_head(models: dict[str, Path]) -> None:
    module = MaskedLanguageModel(HuggingFaceText(str(models["bert"]), weights=False))
    assert module.fresh_head
    assert module.language_model.bert is module.backbone.model


def test_the_head_of_deberta_v3_is_found_under_its_own_name(tmp_path: Path) -> None:
    """Files of the hub name it `lm_predictions`, and their config.json says nothing of it."""
    config = transformers.DebertaV2Config(**{**TINY_TEXT["deberta"][1].to_dict(), "legacy": False})
    torch.manual_seed(1)
    saved = transformers.DebertaV2ForMaskedLM(config).eval()
    torch.nn.init.normal_(saved.lm_predictions.lm_head.bias)
    saved.save_pretrained(tmp_path)
    save_tokenizer(tmp_path)
    written = json.loads((tmp_path / "config.json").read_text())
    del written["legacy"]
    (tmp_path / "config.json").write_text(json.dumps(written))
    module = language_model(tmp_path).eval()
    assert not module.fresh_head
    inputs = module.backbone.example_inputs(4)
    torch.testing.assert_close(module(inputs), saved(**inputs).logits)
    module.save(tmp_path / "out")
    opened = transformers.AutoModelForMaskedLM.from_pretrained(tmp_path / "out").eval()
    torch.testing.assert_close(opened(**inputs).logits, saved(**inputs).logits)
    HuggingFaceText(str(tmp_path / "out"))


def test_half_a_head(models: dict[str, Path], tmp_path: Path) -> None:
    backbone = HuggingFaceText(str(save_text_model("bert", tmp_path)))
    file = tmp_path / "bert" / "model.safetensors"
    state = load_file(file)
    del state["cls.predictions.transform.dense.bias"]
    save_file(state, file, metadata={"format": "pt"})
    with pytest.raises(
        ValueError, match=r"head for masked tokens.*missing \(1\): cls.predictions.transform.dense.bias"
    ):
        MaskedLanguageModel(backbone)


def test_a_family_without_such_a_head(tmp_path: Path) -> None:
    config = transformers.GPT2Config(n_embd=16, n_layer=1, n_head=2, vocab_size=VOCABULARY, n_positions=40)
    transformers.GPT2Model(config).save_pretrained(tmp_path)
    save_tokenizer(tmp_path)
    with pytest.raises(ValueError, match=r"is a 'gpt2' model, for which transformers has no head.*such as BERT"):
        language_model(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"lr": 0.0}, "lr must be above 0, got 0"), ({"weight_decay": -1}, "weight_decay must be at least 0, got -1")],
)
def test_bad_rates(options: dict[str, Any], message: str, models: dict[str, Path]) -> None:
    with pytest.raises(ValueError, match=message):
        language_model(models["bert"], **options)


# ---------------------------------------------------------------- training


class Losses(pl.Callback):
    def __init__(self) -> None:
        self.metrics: list[dict[str, float]] = []

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.metrics.append({name: float(value) for name, value in trainer.callback_metrics.items()})


@torch.no_grad()
def validation_loss(module: MaskedLanguageModel, data: UnlabelledTextDataModule) -> float:
    """The mean over all masked validation tokens, one text at a time, by the family's whole forward."""
    module.eval()
    total, count = 0.0, 0
    for index in data.indices["validation"]:
        batch = data.samples.fetch(np.array([index]), 0)
        logits = module.language_model(**batch["inputs"]).logits[0]
        total += float(F.cross_entropy(logits, batch["labels"][0], ignore_index=-100, reduction="sum"))
        count += int((batch["labels"] != -100).sum())
    return total / count


def features(folder: Path, texts: list[str]) -> tuple[Tensor, Tensor]:
    """Hidden states by transformers, and embeddings by sentence-transformers."""
    from sentence_transformers import SentenceTransformer  # processes that this file starts do without it

    tokens = AutoTokenizer.from_pretrained(folder)(texts, padding=True, return_tensors="pt")
    model = transformers.AutoModel.from_pretrained(folder).eval()
    with torch.no_grad():
        hidden = model(**tokens).last_hidden_state
    return hidden, torch.tensor(SentenceTransformer(str(folder), device="cpu").encode(texts))


@pytest.mark.parametrize("family", ["bert", "minilm", "modernbert"])
def test_loss_falls_and_the_folder_opens_everywhere(family: str, models: dict[str, Path], tmp_path: Path) -> None:
    table(tmp_path, 192)
    data, losses = data_of(tmp_path, validation_fraction=0.15), Losses()
    module = language_model(models[family], lr=3e-3, schedule=Constant())
    trainer = tiny.tiny_trainer(tmp_path, [losses], max_epochs=6)
    trainer.fit(module, datamodule=data)
    first, last = losses.metrics[0], losses.metrics[-1]
    assert last["train_loss"] < first["train_loss"] - 0.3 and last["val_loss"] < first["val_loss"] - 0.3
    assert last["val_loss"] == pytest.approx(validation_loss(module, data), abs=1e-4)
    assert last["val_perplexity"] == pytest.approx(math.exp(last["val_loss"]), rel=1e-4)
    optimized = {id(p) for group in trainer.optimizers[0].param_groups for p in group["params"]}
    assert optimized == {id(p) for p in module.parameters()} and all(p.requires_grad for p in module.parameters())

    folder, texts = tmp_path / "model", sentences(5)
    module.eval()
    tokens = module.backbone.tokenize(texts)
    opened = HuggingFaceText(str(folder)).eval()
    restoring: Any = transformers.AutoModelForMaskedLM.from_pretrained(folder).eval()
    hidden, embeddings = features(folder, texts)
    with torch.no_grad():
        torch.testing.assert_close(opened.model(**tokens).last_hidden_state, hidden)
        torch.testing.assert_close(module.backbone.model(**tokens).last_hidden_state, hidden)
        torch.testing.assert_close(opened(tokens), embeddings, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(restoring(**tokens).logits, module(tokens))
    assert opened.settings == module.backbone.settings
    assert not language_model(folder).fresh_head, "pretraining can go on from there"

    provenance = json.loads((folder / "provenance.json").read_text())
    assert provenance["objective"] == f"masked language model from {models[family]}, 15% of the tokens masked"
    assert (provenance["steps"], provenance["texts_per_step"]) == (trainer.global_step, 8)
    assert provenance["final_training_loss"] == pytest.approx(last["train_loss"], abs=1e-4)
    assert provenance["final_validation_loss"] == pytest.approx(last["val_loss"], abs=1e-4)
    weights = (folder / "model.safetensors").read_bytes()
    assert provenance["sha256_of_model_safetensors"] == hashlib.sha256(weights).hexdigest()


@pytest.mark.parametrize("family", sorted(set(TINY_TEXT) - {"bert", "minilm", "modernbert"}))
def test_the_folders_of_the_other_families(family: str, models: dict[str, Path], tmp_path: Path) -> None:
    module = language_model(models[family]).eval()
    module.save(tmp_path)
    texts = sentences(5)
    tokens = module.backbone.tokenize(texts)
    hidden, embeddings = features(tmp_path, texts)
    restoring: Any = transformers.AutoModelForMaskedLM.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        torch.testing.assert_close(module.backbone.model(**tokens).last_hidden_state, hidden)
        torch.testing.assert_close(module.backbone(tokens), embeddings, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(restoring(**tokens).logits, module(tokens))
        torch.testing.assert_close(HuggingFaceText(str(tmp_path)).eval()(tokens), module.backbone(tokens))


def test_dropout_is_on_in_training(models: dict[str, Path], tmp_path: Path) -> None:
    table(tmp_path)
    module = language_model(models["bert"]).eval()
    tiny.tiny_trainer(tmp_path, max_epochs=1, limit_train_batches=1).fit(module, datamodule=data_of(tmp_path))
    assert all(part.training for part in module.modules())


def test_batches_without_labels(models: dict[str, Path]) -> None:
    module = language_model(models["bert"])
    with pytest.raises(ValueError, match=r"needs batches of masked texts; set data to datamodules\.Unlabelled"):
        module.training_step({"inputs": module.backbone.example_inputs(2), "index": torch.arange(2)}, 0)


# ---------------------------------------------------------------- resuming, and two processes


class StopAt(pl.Callback):
    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, number: int) -> None:
        if trainer.global_step == 9:
            raise InterruptedError


def test_resumes_exactly_in_mid_epoch(models: dict[str, Path], tmp_path: Path) -> None:
    table(tmp_path)
    through, stopped, resumed = (language_model(models["minilm"]) for _ in range(3))
    options = {"max_epochs": 2, "accumulate_grad_batches": 2}
    tiny.tiny_trainer(tmp_path / "through", **options).fit(through, datamodule=data_of(tmp_path))
    save = ResumableCheckpoint(monitor=None, every_n_train_steps=2)
    with pytest.raises(InterruptedError):
        tiny.tiny_trainer(tmp_path, [save, StopAt()], **options).fit(stopped, datamodule=data_of(tmp_path))
    assert tiny.weights_hash(stopped) != tiny.weights_hash(through)
    assert torch.load(save.last_model_path, weights_only=True)["global_step"] == 8, "epochs end at 6 and 12"
    trainer = tiny.tiny_trainer(tmp_path, **options)
    trainer.fit(resumed, datamodule=data_of(tmp_path), ckpt_path=save.last_model_path, weights_only=True)
    assert tiny.weights_hash(resumed) == tiny.weights_hash(through)
    ends = [load_file(folder / "model" / "model.safetensors") for folder in (tmp_path / "through", tmp_path)]
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


def trained_on_two(folder: str, model: str) -> dict[str, Any]:
    module, data = language_model(Path(model)), data_of(Path(folder), validation_fraction=0.3)
    trainer = tiny.tiny_trainer(folder, max_epochs=2, devices=2, strategy="ddp")
    trainer.fit(module, datamodule=data)
    seen = [int(k) for batch in data.train_dataloader() for k in batch["index"]]
    metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
    return {"weights": tiny.weights_hash(module), "metrics": metrics, "seen": seen, "state": module.state_dict()}


def test_two_processes_agree(models: dict[str, Path], tmp_path: Path) -> None:
    table(tmp_path)
    first, second = on_two_ranks(trained_on_two, tmp_path, str(tmp_path), str(models["minilm"]))
    assert first["weights"] == second["weights"]
    assert not set(first["seen"]) & set(second["seen"]) and len(first["seen"]) == len(second["seen"]) > 20
    data, module = data_of(tmp_path, validation_fraction=0.3), language_model(models["minilm"])
    module.load_state_dict(first["state"])
    expected = validation_loss(module, ready(data, module.backbone.input_spec))
    for rank in (first, second):
        assert rank["metrics"]["val_loss"] == pytest.approx(expected, abs=1e-5), "over all masked tokens of both"
        assert rank["metrics"]["val_perplexity"] == pytest.approx(math.exp(expected), rel=1e-4)
    saved = load_file(tmp_path / "model" / "model.safetensors")
    state = {name.removeprefix("language_model."): value for name, value in first["state"].items()}
    assert all(torch.equal(value, state[name]) for name, value in saved.items())


# ---------------------------------------------------------------- the command line


def cli_arguments(name: str, folder: Path, **settings: Any) -> list[str]:
    path = folder / f"{name}.yaml"
    trainer = "trainer: {max_epochs: 1, accelerator: cpu, devices: 1, enable_progress_bar: false}"
    parts = [f"{key}: {json.dumps(value)}" for key, value in settings.items()]
    path.write_text("\n".join(["# Own texts.", *parts, trainer, ""]))
    return ["--recipe", str(path)]


def test_pretrained_folder_in_fine_tuning(
    models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    path = table(tmp_path, topic=["x", "y"] * 48)

    def backbone(folder: Path) -> dict[str, Any]:
        return {"class_path": "lightning_tl.backbones.HuggingFaceText", "init_args": {"pretrained": str(folder)}}

    read = {"path": str(path), "cache": str(tmp_path / "cache"), "batch_size": 8}
    pretraining = cli_arguments(
        "pretrain",
        tmp_path,
        model={
            "class_path": "lightning_tl.pretraining.MaskedLanguageModel",
            "init_args": {"backbone": backbone(models["bert"]), "lr": 1e-3},
        },
        data={"class_path": "datamodules.UnlabelledTextDataModule", "init_args": read},
    )
    assert "did you mean text?" in error_of([*pretraining, "--data.text=texts"], capsys)
    main(pretraining)
    (run,) = (tmp_path / "runs" / "pretrain").iterdir()
    assert {"val_loss", "val_perplexity"} <= set(pd.read_csv(run / "metrics.csv"))
    tuning = cli_arguments(
        "tune",
        tmp_path,
        model={
            "class_path": "lightning_tl.strategies.FineTune",
            "init_args": {"backbone": backbone(models["bert"]), "backbone_lr": 1e-9, "lr": 1e-9},
        },
        data={"class_path": "datamodules.TextDataModule", "init_args": {**read, "label": "topic"}},
    )
    main([*tuning, f"--model.backbone.pretrained={run / 'model'}"])
    (tuned,) = (tmp_path / "runs" / "tune").iterdir()
    state = HuggingFaceText(str(tuned / "model" / "backbone")).model.state_dict()
    for name, value in HuggingFaceText(str(run / "model")).model.state_dict().items():
        torch.testing.assert_close(state[name], value, atol=1e-5, rtol=0)

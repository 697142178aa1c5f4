"""Classes told apart by natural-language inference, checked against transformers' own pipeline and tokenizers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pandas as pd
import pytest
import torch
import transformers
from cli_runs import error_of, make_job
from safetensors.torch import load_file, save_file
from tiny import TinyBackbone
from tiny_nli import save_nli
from tiny_text import WORDS, save_text_model, save_tokenizer

from datamodules import SatelliteDataModule, TextDataModule
from lightning_tl.backbones import EmbedsTexts, HuggingFaceNLI, load_exported
from lightning_tl.backbones.heads import TemplateMean
from lightning_tl.backbones.hugging_face.texts.pair_tokens import PairTokens
from lightning_tl.cli import main
from lightning_tl.contracts.layer_groups import check_partition
from lightning_tl.strategies import ZeroShot, ZeroShotNLI

NAMES = ("water", "clothes", "big house")
LONG = " ".join(np.random.default_rng(1).choice(WORDS, 60))
TEXTS = ["the boat is wet", "i love this soft blue dress and the warm jacket", LONG, "house", f"not {LONG}"]


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_nli(tmp_path_factory.mktemp("nli"))


def zero_shot(folder: Path, **options: Any) -> ZeroShotNLI:
    module = ZeroShotNLI(str(folder), num_classes=len(NAMES), **options)
    module.class_names = NAMES
    module.configure_model()
    return module.eval()


# ---------------------------------------------------------------- pairs


def tokenizer_of(folder: Path, kind: str) -> Any:
    """Tokenizers that mark a pair in different ways."""
    save_tokenizer(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    numbers = [("[CLS]", 2), ("[SEP]", 3)]
    templates = {
        "roberta": ("[CLS] $A [SEP]", "[CLS] $A [SEP] [SEP] $B [SEP]"),
        "xlnet": ("$A [SEP] [CLS]:2", "$A [SEP] $B:1 [SEP]:1 [CLS]:2"),
        "t5": ("$A [SEP]", "$A [SEP] $B [SEP]"),
        "bare": ("$A", "$A $B"),
    }
    if kind in templates:
        from tokenizers import processors

        single, pair = templates[kind]
        processor = processors.TemplateProcessing(single=single, pair=pair, special_tokens=numbers)
        tokenizer.backend_tokenizer.post_processor = processor
    tokenizer.padding_side = "left" if kind in ("xlnet", "padded left") else "right"
    tokenizer.truncation_side = "left" if kind in ("t5", "cut left") else "right"
    return tokenizer


HYPOTHESES = ["this is about water", "a very big and old red house", "it fits"]


@pytest.mark.parametrize("length", [14, 20, 100])
@pytest.mark.parametrize("premises_padded", ["right", "left"])
@pytest.mark.parametrize("kind", ["bert", "roberta", "xlnet", "t5", "bare", "padded left", "cut left"])
def test_pairs_are_those_of_the_tokenizer(kind: str, premises_padded: str, length: int, tmp_path: Path) -> None:
    tokenizer = tokenizer_of(tmp_path, kind)
    side = tokenizer.padding_side
    tokenizer.padding_side = premises_padded
    inputs = tokenizer(TEXTS, padding=True, truncation=True, max_length=max(length, 30), return_tensors="pt").data
    tokenizer.padding_side = side
    rows = torch.randperm(len(TEXTS) * len(HYPOTHESES), generator=torch.Generator().manual_seed(0))
    first, second = rows // len(HYPOTHESES), rows % len(HYPOTHESES)
    found = PairTokens(tokenizer, HYPOTHESES, length, segments=True).join(inputs, first, second)
    expected = tokenizer(
        [TEXTS[k] for k in first],
        [HYPOTHESES[k] for k in second],
        truncation="only_first",
        max_length=length,
        padding=True,
        return_tensors="pt",
        return_token_type_ids=True,
    )
    assert expected["input_ids"].shape[1] <= length
    mask = expected["attention_mask"]
    assert torch.equal(found["input_ids"], expected["input_ids"])
    assert torch.equal(found["attention_mask"], mask)
    assert torch.equal(found["token_type_ids"] * mask, expected["token_type_ids"] * mask)
    assert "token_type_ids" not in PairTokens(tokenizer, HYPOTHESES, length, segments=False).join(inputs, first, second)


# ---------------------------------------------------------------- scores


@torch.no_grad()
@pytest.mark.parametrize("rows_per_forward", [1, 4, 64])
@pytest.mark.parametrize(
    ("family", "types"),
    [("bert", True), ("bert", False), ("roberta", False), ("distilbert", False), ("deberta", True), ("bart", False)],
)
def test_probabilities_are_those_of_the_pipeline(
    family: str, types: bool, rows_per_forward: int, tmp_path: Path
) -> None:
    folder = save_nli(tmp_path, family, types=types)
    module = zero_shot(folder, descriptions={"clothes": "dress"}, rows_per_forward=rows_per_forward)
    inputs = module.backbone.tokenize(TEXTS)  # type: ignore[operator]
    found = module.probabilities(module(inputs))
    oracle = transformers.pipeline("zero-shot-classification", model=str(folder), device="cpu")
    words = ["water", "dress", "big house"]
    for text, row in zip(TEXTS, found, strict=True):
        peer = oracle(text, candidate_labels=words, hypothesis_template="This text is about {}.")
        expected = dict(zip(peer["labels"], peer["scores"], strict=True))
        torch.testing.assert_close(row, torch.tensor([expected[name] for name in words]), rtol=0, atol=1e-5)
    assert (found.amax(1) - found.amin(1)).min() > 1e-4, "the test would see nothing"


@torch.no_grad()
def test_templates_are_averaged_over_a_temperature(bert: Path) -> None:
    templates = ["this is {}", "i was wet and {} was red"]
    module = zero_shot(bert, templates=templates, temperature=0.5)
    tokenizer = transformers.AutoTokenizer.from_pretrained(bert)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(bert).eval()
    logits = module(module.backbone.tokenize(TEXTS))  # type: ignore[operator]
    for text, row in zip(TEXTS, logits, strict=True):
        for name, score in zip(NAMES, row, strict=True):
            pairs = [tokenizer(text, t.replace("{}", name), truncation="only_first", max_length=38) for t in templates]
            alone = [model(**{k: torch.tensor([v]) for k, v in pair.items()}).logits[0, 2] for pair in pairs]
            assert float(score) == pytest.approx(float(sum(alone) / 2 / 0.5), abs=1e-5)


def test_rows_per_forward_is_the_bound(bert: Path) -> None:
    backbone = HuggingFaceNLI(str(bert), HYPOTHESES, rows_per_forward=4)
    seen: list[int] = []
    backbone.model.register_forward_hook(lambda *call: seen.append(len(call[2].logits)))
    assert backbone(backbone.tokenize(TEXTS)).shape == (5, 3)
    assert seen == [4, 4, 4, 3]


@pytest.mark.parametrize("family", ["bert", "roberta", "deberta", "bart", "modernbert", "electra", "mpnet"])
def test_the_contract(family: str, tmp_path: Path) -> None:
    backbone = HuggingFaceNLI(str(save_nli(tmp_path, family)), HYPOTHESES)
    groups = backbone.layer_groups()
    check_partition(backbone, groups)
    assert groups[0].name == "embeddings" and len(groups) >= 3
    features = backbone(backbone.example_inputs(3))
    assert features.shape == (3, backbone.feature_dim) and not isinstance(backbone, EmbedsTexts)
    backbone.reinitialise()
    assert not torch.allclose(backbone(backbone.example_inputs(3)), features)
    with pytest.raises(ValueError, match="has no hypotheses: give them when it is made, or by ask"):
        HuggingFaceNLI(str(tmp_path / family))(backbone.example_inputs(1))


# ---------------------------------------------------------------- runs

RECIPE = """\
# Own texts by inference.
model:
  class_path: lightning_tl.strategies.ZeroShot
  init_args:
    backbone: lightning_tl.backbones.HuggingFaceText
data:
  class_path: datamodules.TextDataModule
  init_args: {{path: {folder}/own.csv, cache: {folder}/cache}}
trainer: {{accelerator: cpu, devices: 1, enable_progress_bar: false}}
"""


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bert: Path) -> list[str]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LIGHTNING_TL_RUN_FOLDER", raising=False)
    random = np.random.default_rng(0)
    rows = [{"text": " ".join(random.choice(WORDS, 5 + 3 * k)), "label": name} for name in NAMES for k in range(12)]
    pd.DataFrame(rows).to_csv(tmp_path / "own.csv", index=False)
    (tmp_path / "own.yaml").write_text(RECIPE.format(folder=tmp_path))
    return ["--recipe", "own.yaml", "--model=lightning_tl.strategies.ZeroShotNLI", f"--model.nli={bert}"]


def test_a_run(recipe: list[str], tmp_path: Path, bert: Path) -> None:
    main([*recipe, "--model.descriptions={clothes: dress}", "--model.temperature=0.7", "--model.rows_per_forward=5"])
    (run,) = (tmp_path / "runs" / "own").iterdir()
    summary = json.loads((run / "summary.json").read_text())
    assert summary["parameters"]["trainable"] == 0
    assert summary["test"]["logged"]["test_temperature"] == pytest.approx(0.7)
    assert 0 <= summary["test"]["calibration_error"] <= 1
    assert (run / "checkpoints" / "last.ckpt").stat().st_size < 50_000, "frozen weights are not kept"
    table = pd.read_parquet(run / "predictions" / "test.parquet").set_index("id").sort_index()
    own = pd.read_csv("own.csv")["text"]
    texts = [own[int(name.removeprefix("row-")) - 1] for name in table.index]
    oracle = transformers.pipeline("zero-shot-classification", model=str(bert), device="cpu")
    names = sorted(NAMES)
    words = ["dress" if name == "clothes" else name for name in names]
    for text, row in zip(texts, table["probabilities"], strict=True):
        peer = oracle(text, candidate_labels=words, hypothesis_template="This text is about {}.")
        scores = dict(zip(peer["labels"], peer["scores"], strict=True))
        expected = torch.tensor([scores[word] for word in words]).log().div(0.7).softmax(0)
        assert np.abs(np.asarray(row) - expected.numpy()).max() < 1e-5
    model = load_exported(run / "model")
    assert model.class_names == tuple(names)
    with torch.no_grad():
        found = model(model.backbone.tokenize(texts)).softmax(1).numpy()  # type: ignore[operator]
    assert np.abs(found - np.stack(table["probabilities"])).max() < 1e-5
    transformers.AutoModelForSequenceClassification.from_pretrained(run / "model" / "backbone")
    main(["predict", "--run", str(run)])
    again = pd.read_parquet(run / "predictions" / "predict.parquet").set_index("id").sort_index()
    assert np.array_equal(np.stack(again["probabilities"]), np.stack(table["probabilities"]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model.templates=[about]"], "every template must have one {} where the description goes, got ['about']"),
        (["--model.descriptions={see: water}"], "descriptions of classes that the data has not: see; it has big house"),
        (["--model.nli=cross-encoder/nli-deberta"], "offline mode is on"),
        (["--model.rows_per_forward=0"], "rows_per_forward must be at least 1, got 0"),
        (["--model.max_length=99"], "max_length must be from 4 to 40, the number of position embeddings, got 99"),
        (["--model.max_length=8"], "hypothesis 'This text is about big house.' takes 10 tokens and leaves no room"),
        (["--data.text=[text,label]"], "text must be one column, got text, label; join them into one"),
        (["--data.max_length=39"], "max_length must be at most the backbone's 38 tokens, got 39"),
    ],
)
def test_mistakes(options: list[str], message: str, recipe: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert message in error_of([*recipe, *options], capsys)


def test_image_data(bert: Path) -> None:
    trainer = pl.Trainer(accelerator="cpu", devices=1, logger=False, enable_checkpointing=False)
    message = "ZeroShotNLI with HuggingFaceNLI reads texts, but SatelliteDataModule has images; use .*HuggingFaceCLIP"
    with pytest.raises(ValueError, match=message):
        trainer.fit(ZeroShotNLI(str(bert)), SatelliteDataModule(num_workers=0))


def test_a_bare_trainer(bert: Path, recipe: list[str], tmp_path: Path) -> None:
    quiet: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = pl.Trainer(accelerator="cpu", devices=1, enable_model_summary=False, **quiet)
    data = TextDataModule("own.csv", cache=tmp_path / "cache")
    (scores,) = trainer.test(ZeroShotNLI(str(bert)), data, verbose=False)
    assert scores["test_temperature"] == 1.0 and 0 <= scores["test_accuracy"] <= 1


def without(pattern: str) -> Callable[[Path], Path]:
    """An NLI folder whose file of weights lacks the first tensor named like this."""

    def make(folder: Path) -> Path:
        nli = save_nli(folder)
        state = load_file(nli / "model.safetensors")
        del state[next(key for key in state if pattern in key)]
        save_file(state, nli / "model.safetensors", metadata={"format": "pt"})
        return nli

    return make


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: save_nli(folder, labels=("yes", "no")), r"no entailment label \(its labels: yes, no\); take a"),
        (lambda folder: save_nli(folder, labels=("entails", "entailment")), "2 entailment labels"),
        (lambda folder: save_text_model("bert", folder), r"no entailment label \(its labels: LABEL_0, LABEL_1\)"),
        (lambda folder: make_job(folder).parent / "vit", "no entailment label"),
        (without("classifier.weight"), r"missing \(1\): classifier.weight"),
        (without("pooler.dense.bias"), r"missing \(1\): bert.pooler.dense.bias"),
    ],
)
def test_folders_that_do_not_fit(make: Callable[[Path], Path], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        HuggingFaceNLI(str(make(tmp_path)))


def test_other_mistakes(bert: Path) -> None:
    with pytest.raises(ValueError, match=r"needs a backbone that embeds texts.*Backbone does not"):
        ZeroShot(TinyBackbone())
    for make in (lambda: ZeroShotNLI(str(bert), temperature=-1), lambda: TemplateMean(2, 1, -1.0)):
        with pytest.raises(ValueError, match="temperature must be above 0, got -1"):
            make()

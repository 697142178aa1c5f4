"""Families of transformers' text classifiers: open, train, export, read back, or say why not."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent / "scripts" / "benchmarks"))

import small_text
from families import TEXT
from family_checks import Row, check_family

from lightning_tl.adaptation import LoRA, Prompts
from lightning_tl.backbones import HuggingFaceText

# One of each way to be built: shared layers, an encoder out of two, matrices the other way round, no layer lists of
# known names, convolutions over padding, experts, parameters that no text reads.
CHOSEN = ("albert", "bart", "convbert", "gpt2", "t5", "xlnet", "longformer", "deepseek_v3", "flaubert", "bloom")
REFUSED = {
    "canine": "is a 'canine' model, which does not read text by a vocabulary",
    "mra": "a MraModel, makes the same of a word whatever stands beside it: its attention needs a kernel",
    "perceiver": "is a 'perceiver' model, whose encoder PerceiverModel reads no tokens of a text by itself",
}
# What one adaptation cannot do in a family, and what is said.
NOT_ALL = {
    "esmc": {"Prompts": "EsmcModel takes no vectors in place of words, which Prompts needs"},
    "ibert": {
        "LoRA": "LoRA: .*; the model has no layers that LoRA can change; use Full or TopGroups",
        "Adapters": "Adapters sit behind linear layers, of which the blocks of IBertModel have none",
        "Prompts": "Prompts cannot stand before the words of IBertModel, whose QuantEmbedding gives more",
    },
    "reformer": {
        name: f"{name} cannot train ReformerModel: it computes 11 layers, such as encoder.*; use Frozen"
        for name in TEXT
        if name != "Frozen"
    },
    "squeezebert": {
        "LoRA": r"LoRA: no layers .*; these could be named: word_embeddings \(1\)",
        "Adapters": "Adapters sit behind linear layers, of which the blocks of SqueezeBertModel have none",
    },
}
QUICK = {name: TEXT[name] for name in ("Full", "LoRA", "Prompts")}


def row_of(family: str, adaptations: Any, folder: Path) -> Row:
    made = small_text.save_small(family, small_text.families()[family], folder / "model")
    return check_family(family, lambda: HuggingFaceText(str(made), max_length=40), adaptations, folder / "out")


@pytest.mark.parametrize("family", CHOSEN)
def test_chosen_families(family: str, tmp_path: Path) -> None:
    row = row_of(family, QUICK, tmp_path)
    assert row.wrong == {} and row.opens and "Full" in row.reads_back and "Prompts" in row.reads_back
    assert row.refused == {}


@pytest.mark.parametrize("family", REFUSED)
def test_what_cannot_be_read_is_refused_in_one_line(family: str, tmp_path: Path) -> None:
    row = row_of(family, {}, tmp_path)
    assert row.wrong == {} and row.opens == "" and re.search(REFUSED[family], row.refused["opens"])


@pytest.mark.parametrize("family", NOT_ALL)
def test_what_cannot_train_is_refused_before_it_trains(family: str, tmp_path: Path) -> None:
    row = row_of(family, {name: TEXT[name] for name in ("Frozen", *NOT_ALL[family])}, tmp_path)
    assert row.wrong == {} and row.reads_back == ["Frozen"] and row.refused.keys() == NOT_ALL[family].keys()
    for name, said in NOT_ALL[family].items():
        assert re.match(said, row.refused[name])


@pytest.mark.parametrize(
    ("family", "name"),
    [
        ("phimoe", "Adapters"),  # its router is a linear layer that gives a pair
        ("fnet", "Prompts"),  # has no attention heads to be counted
        ("t5gemma", "Prompts"),  # nor its encoder's configuration a number of layers
        ("zamba", "LoRA"),  # two layers of attention share one weight
    ],
)
def test_odd_families_train(family: str, name: str, tmp_path: Path) -> None:
    row = row_of(family, {name: TEXT[name]}, tmp_path)
    assert row.honest and row.refused == {} and row.reads_back == [name]


def small(family: str, folder: Path) -> HuggingFaceText:
    return HuggingFaceText(
        str(small_text.save_small(family, small_text.families()[family], folder / "model")), max_length=40
    )


def test_lora_of_weights_that_two_layers_share_is_refused(tmp_path: Path) -> None:
    """Both changes would be added to the one weight at export."""
    backbone = small("zamba", tmp_path)
    assert all("shared" not in name for name in LoRA().target_layers(backbone))
    with pytest.raises(ValueError, match=r"LoRA cannot change .*1.*q_proj by itself: it shares its weights with .*3\."):
        LoRA(targets="q_proj").apply(backbone)
    with pytest.raises(ValueError, match="it shares its weights with"):
        LoRA(targets=["layers.1.shared_transf.self_attn.q_proj"]).apply(backbone)


def test_lora_of_what_no_text_reads_is_refused(tmp_path: Path) -> None:
    """BERT's pooler is a constant: a change beside it would get no gradient, which stops DDP."""
    backbone = small("squeezebert", tmp_path)
    with pytest.raises(ValueError, match="targets all-linear match none"):
        LoRA(targets="all-linear").apply(backbone)
    with pytest.raises(ValueError, match="targets router match none"):
        LoRA(targets="router").apply(small("phimoe", tmp_path / "other"))


def test_a_refusal_leaves_the_model_as_it_was(tmp_path: Path) -> None:
    backbone = small("esmc", tmp_path)
    before = [(name, value.requires_grad) for name, value in backbone.named_parameters()]
    inputs = backbone.eval().example_inputs(3)
    features = backbone(inputs)
    with pytest.raises(ValueError, match="takes no vectors in place of words"):
        Prompts(2).apply(backbone)
    assert [(name, value.requires_grad) for name, value in backbone.named_parameters()] == before
    torch.testing.assert_close(backbone(inputs), features)


@pytest.mark.whole
@pytest.mark.parametrize("family", [family for family in small_text.families() if family not in small_text.LEFT_OUT])
def test_every_family(family: str, tmp_path: Path) -> None:
    row = row_of(family, TEXT, tmp_path)
    assert row.wrong == {}
    assert row.whole or family in ("reformer", *REFUSED)
    assert row.refused.keys() == NOT_ALL.get(family, {}).keys() or row.refused.keys() == {"opens"}

"""Strategies that take an adaptation's arguments: written once, shown and checked as if they were their own."""

from __future__ import annotations

import inspect
import pickle
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from docstring_parser import parse
from jsonargparse import ArgumentParser
from tiny import tiny_vit

from lightning_tl.adaptation import Adaptation, Adapters, LoRA, Prompts, VisualPrompts
from lightning_tl.backbones.base import Backbone
from lightning_tl.strategies import AdapterFineTune, LoRAFineTune, PromptTuning
from lightning_tl.strategies.arguments_of import arguments_of
from lightning_tl.training.transfer_module import TransferModule


class Grafts(Adaptation):
    """Of these tests.

    Args:
        width: of a graft.
        dropout: of its input.
    """

    rate = 1.0

    def __init__(self, width: int = 3, dropout: float = 0.25) -> None:
        self.width, self.dropout = width, dropout

    def apply(self, backbone: Backbone) -> None:
        """Change nothing."""


class GraftFineTune(TransferModule):
    """Of these tests."""

    @arguments_of(Grafts, graft_dropout="dropout")
    def __init__(self, backbone: Backbone, adaptation: Grafts, **kwargs: Any) -> None:
        """Build it.

        Args:
            backbone: any.
            adaptation: made.
            **kwargs: the base's.
        """
        super().__init__(backbone, adaptation, **kwargs)


class Mine(LoRAFineTune):
    """A subclass with an argument of its own and a default of its own for one of LoRA's.

    Args:
        extra: of the subclass.
    """

    def __init__(self, backbone: Backbone, extra: float = 0.5, r: int = 4, **kwargs: Any) -> None:
        super().__init__(backbone, r=r, **kwargs)
        self.extra = extra


PAIRS = [
    (LoRAFineTune, [LoRA], {"dropout": "lora_dropout"}),
    (AdapterFineTune, [Adapters], {}),
    (PromptTuning, [Prompts, VisualPrompts], {}),
    (GraftFineTune, [Grafts], {"dropout": "graft_dropout"}),
]


@pytest.mark.parametrize(("strategy", "kinds", "renamed"), PAIRS)
def test_arguments_are_those_of_the_adaptation(
    strategy: type[TransferModule], kinds: list[type[Adaptation]], renamed: dict[str, str]
) -> None:
    own = dict(inspect.signature(strategy.__init__).parameters)
    described = {one.arg_name: one.description for one in parse(strategy.__init__.__doc__ or "").params}
    expected = {}
    for kind in kinds:
        texts = {one.arg_name: one.description for one in parse(kind.__doc__ or "").params}
        for name, one in inspect.signature(kind).parameters.items():
            if renamed.get(name, name) in expected:
                continue  # of several, the first describes it
            everywhere = all(name in inspect.signature(other).parameters for other in kinds)
            annotation = get_type_hints(kind.__init__)[name]
            default = one.default if everywhere else None
            expected[renamed.get(name, name)] = (annotation if everywhere else annotation | None, default)
            assert (texts[name] or "") in (described[renamed.get(name, name)] or "")
    assert "adaptation" not in described
    assert [*own] == ["self", "backbone", *expected, "kwargs"]
    assert {name: (own[name].annotation, own[name].default) for name in expected} == expected


@pytest.mark.parametrize("strategy", [strategy for strategy, *_ in PAIRS])
def test_classes_are_found_by_their_names(strategy: type[TransferModule]) -> None:
    assert pickle.loads(pickle.dumps(strategy)) is strategy


def test_both_dropouts_arrive_and_positions_are_kept(tmp_path: Path) -> None:
    vit = tiny_vit(tmp_path)
    module = LoRAFineTune(vit, 2, 4.0, "query", 0.1, True, dropout=0.3, lr=0.5)
    made = module.adaptation
    assert isinstance(made, LoRA)
    assert made.arguments == {
        **{"r": 2, "alpha": 4.0, "targets": "query", "dropout": 0.1, "rslora": True, "dora": False},
    }
    assert (module.dropout, module.lr) == (0.3, 0.5)
    assert GraftFineTune(vit, graft_dropout=0.5, dropout=0.1).adaptation.dropout == 0.5  # type: ignore[attr-defined]
    mine = Mine(vit, lora_dropout=0.1, head_hidden=7)
    assert (mine.adaptation.r, mine.adaptation.dropout, mine.head_hidden) == (4, 0.1, 7)  # type: ignore[attr-defined]


def test_images_and_texts_get_their_prompts(tmp_path: Path) -> None:
    vit = tiny_vit(tmp_path)
    made = [PromptTuning(vit, tokens=3), PromptTuning(vit, deep=None), PromptTuning(vit, deep=False, text=None)]
    assert [(one.adaptation.tokens, one.adaptation.deep) for one in made] == [  # type: ignore[attr-defined]
        *[(3, True), (20, True), (20, False)]
    ]


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"ranks": 2}, TypeError, "unexpected keyword argument 'ranks'"),
        ({"adaptation": LoRA()}, TypeError, "multiple values for argument 'adaptation'"),
        ({"r": 0}, ValueError, "LoRA's rank r must be at least 1, got 0"),
        ({"lora_dropout": 1.0}, ValueError, r"dropout must be in \[0, 1\), got 1.0"),
    ],
)
def test_mistakes(given: dict[str, Any], error: type[Exception], message: str, tmp_path: Path) -> None:
    with pytest.raises(error, match=message):
        LoRAFineTune(tiny_vit(tmp_path), **given)


@pytest.mark.parametrize(("kind", "rank"), [(LoRAFineTune, 8), (Mine, 4)])
def test_the_command_line_reads_them(kind: type[TransferModule], rank: int) -> None:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(kind, "model", skip={"backbone", "schedule", "optimizer", "loss", "task"})
    defaults = parser.get_defaults().model
    assert (defaults.r, defaults.lora_dropout, defaults.dropout, defaults.lr) == (rank, 0.0, 0.0, 1e-3)
    read = parser.parse_args(["--model.r=2", "--model.targets=[query,value]", "--model.dora=true"]).model
    assert (read.r, read.targets, read.dora) == (2, ["query", "value"], True)
    for wrong in ("--model.r=many", "--model.dora=3", "--model.lora_dropouts=0.1", "--model.adaptation=LoRA"):
        with pytest.raises(Exception, match=wrong.partition("=")[0].removeprefix("--")):
            parser.parse_args([wrong])
    said = " ".join(parser.format_help().split())
    assert "of the layer's input on its way into A" in said and "Kalajdzievski" in said
    assert ("of the subclass" in said) == (kind is Mine)


def test_what_does_not_fit_is_said_when_the_class_is_made() -> None:
    class Other(Grafts):
        """With another default."""

        def __init__(self, width: int = 4) -> None:
            super().__init__(width)

    with pytest.raises(TypeError, match="width differs between Grafts, Other"):
        arguments_of(Grafts, Other, choose=lambda _: Grafts)
    with pytest.raises(TypeError, match="Grafts has no argument dropouts"):
        arguments_of(Grafts, graft_dropout="dropouts")

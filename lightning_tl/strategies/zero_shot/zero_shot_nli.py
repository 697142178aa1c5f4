"""Zero-shot classification by natural-language inference: does the text entail what a class says?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lightning_tl.backbones import HuggingFaceNLI
from lightning_tl.strategies.zero_shot.zero_shot import ZeroShot


class ZeroShotNLI(ZeroShot):
    """A model of natural-language inference reads each text beside a sentence on each class; nothing is trained.

    The text is the premise, a template with the class's description the hypothesis, and the probabilities are the
    softmax over the classes of the entailment logits (Yin et al., 2019, section 5, and as transformers'
    `zero-shot-classification` pipeline does for one label a text), each over `temperature`. Several templates are
    averaged before the softmax. It costs a forward pass for each text, class and template, where `ZeroShot` needs one
    for each text. The summary has the expected calibration error, and the temperature among its logged values.

    Args:
        nli: a folder or hub name of a `…ForSequenceClassification` with an entailment label, such as
            `MoritzLaurer/deberta-v3-base-zeroshot-v2.0`.
        descriptions: what a class is, in words, by the class's name; default the name itself.
        templates: hypotheses, each with `{}` where the description goes.
        temperature: above 0; lower makes the probabilities surer of themselves and changes no prediction.
        rows_per_forward: most pairs of a text and a hypothesis that the model reads at once.
        max_length: most tokens of a pair; default the model's. The text is cut, never the hypothesis.
        revision: branch, tag or commit on the hub.
        num_classes: taken from the data module when None.
    """

    def __init__(
        self,
        nli: str,
        descriptions: Mapping[str, str] | None = None,
        templates: Sequence[str] = ("This text is about {}.",),
        temperature: float = 1.0,
        rows_per_forward: int = 64,
        max_length: int | None = None,
        revision: str | None = None,
        num_classes: int | None = None,
    ) -> None:
        backbone = HuggingFaceNLI(nli, rows_per_forward=rows_per_forward, max_length=max_length, revision=revision)
        super().__init__(backbone, descriptions, templates, temperature, num_classes)

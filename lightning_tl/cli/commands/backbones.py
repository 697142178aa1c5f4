"""`backbones`: candidates for a recipe's backbone, compared on the recipe's data."""

from __future__ import annotations

import json
import os
import shlex

import torch

from lightning_tl.choosing.backbones.candidate import Candidate, read_candidates
from lightning_tl.choosing.backbones.comparison_text import comparison_json, comparison_lines
from lightning_tl.choosing.backbones.latency import latency
from lightning_tl.choosing.backbones.measured import MeasuredBackbone, ranked, scores_of
from lightning_tl.choosing.backbones.model_card import FRESH, CardReader
from lightning_tl.choosing.features.every_layer import LAST, EveryLayer
from lightning_tl.choosing.features.labelled_features import LabelledFeatures, labelled_features
from lightning_tl.cli.commands.backbones_options import BackbonesOptions
from lightning_tl.cli.errors import SHOW_TRACEBACK, UserError, is_users_mistake, message_of, own_cause
from lightning_tl.cli.program import program
from lightning_tl.cli.transfer_cli import TransferCLI
from lightning_tl.embedding import EmbeddingSettings, Ranks, backbone_of
from lightning_tl.storage.partial_file import write_whole


class BackbonesCLI(TransferCLI):
    """Reads the recipe once for each candidate, builds model and data but no Trainer, and compares.

    Args:
        options: from `read_backbones_options`.
    """

    def __init__(self, options: BackbonesOptions) -> None:
        self.wanted = options
        self.candidates = read_candidates(options.candidates)
        self.settings = EmbeddingSettings(options.precision)
        super().__init__(options.run)

    def before_instantiate_classes(self) -> None:
        """Nothing: each candidate is checked by itself."""

    def instantiate_classes(self) -> None:
        """Find out what each candidate changes; a field that is none is told before anything is built."""
        model, data = self.field(self.config, "model"), self.field(self.config, "data")
        if data is None:
            raise UserError(f"the recipe {self.options.name} has no data to compare on; name a data module with --data")
        own = model.get("init_args", {}).get("backbone") if model is not None else None
        if own is None or not own.get("class_path"):
            raise UserError(
                f"the recipe {self.options.name} has no model.backbone to exchange; take one that has, such as "
                "satellite_linear_probe or text_linear_probe"
            )
        own_class = str(own["class_path"])
        self.arguments = {each.typed: each.arguments(own_class) for each in self.candidates}
        self.configs = {
            typed: self.parser.parse_args([*self.options.arguments, *more]) for typed, more in self.arguments.items()
        }

    def run_subcommand(self, subcommand: str) -> None:
        """See the class."""
        cards = CardReader(online=not self.wanted.offline)
        found: list[MeasuredBackbone] = []
        failed: dict[str, str] = {}
        features: LabelledFeatures | None = None
        for candidate in self.candidates:
            print(f"\n{candidate.typed}", flush=True)
            try:
                measured, features = self._measured(candidate, cards)
                found.append(measured)
            except Exception as error:  # the others go on
                failed[candidate.typed] = self._reason(error)
                print(f"  not measured: {failed[candidate.typed]}", flush=True)
        if features is None:
            reasons = "; ".join(f"{name}: {why}" for name, why in failed.items())
            one = next(iter(failed.values())) if len(set(failed.values())) == 1 else reasons
            raise UserError(f"no candidate could be measured: {one}")
        blocks = None if features.blocks is None else features.blocks[~features.training]
        places = ranked(found, blocks)
        lines = comparison_lines(places, features, self.wanted.neighbours)
        print("\n".join(["", *lines, *[f"   not measured: {name}: {why}" for name, why in failed.items()]]))
        print(f"\n{self._advice([place.backbone.typed for place in places if place.as_good])}")
        print(f"  {program()} {shlex.join([*self.wanted.typed, *places[0].backbone.arguments])}", flush=True)
        if self.wanted.output is not None:
            write_whole(self.wanted.output, json.dumps(comparison_json(places, failed), indent=2) + "\n")

    def _measured(self, candidate: Candidate, cards: CardReader) -> tuple[MeasuredBackbone, LabelledFeatures]:
        config = self.configs[candidate.typed]
        torch.manual_seed(self.field(config, "seed_everything") or 0)  # of weights that are drawn
        built = self.parser.instantiate(config)
        backbone, k = backbone_of(self.field(built, "model")), self.wanted.neighbours
        accelerator = str(self.field(config, "trainer").accelerator)
        every = EveryLayer(backbone) if self.wanted.layers else None
        whole = labelled_features(
            every or backbone,
            candidate.name,
            self.field(built, "data"),
            self.wanted.features,
            self.settings,
            accelerator,
            k,
        )
        columns = every.columns if every is not None else {LAST: slice(None)}
        scores = {name: scores_of(whole.columns(part), k) for name, part in columns.items()}
        measured = MeasuredBackbone(
            typed=candidate.typed,
            arguments=tuple(self.arguments[candidate.typed]),
            card=FRESH if backbone.arguments.get("weights", True) in (False, None) else cards.read(candidate.name),
            parameters=sum(parameter.numel() for parameter in backbone.parameters()),
            dim=backbone.feature_dim,
            latency=latency(backbone, Ranks().device(accelerator)),
            scores=scores.pop(LAST),
            layers=scores,
        )
        return measured, whole

    def _reason(self, error: Exception) -> str:
        """Why a candidate could not be measured, in one line."""
        if os.environ.get(SHOW_TRACEBACK) == "1":
            raise error
        cause = own_cause(error)
        told = message_of(cause) if is_users_mistake(cause) else f"{type(cause).__name__}: {message_of(cause)}"
        return " ".join(told.split())

    def _advice(self, as_good: list[str]) -> str:
        if not as_good:
            return "To train with the first:"
        names = " and ".join([", ".join(as_good[:-1]), as_good[-1]] if len(as_good) > 1 else as_good)
        return f"The data cannot tell {names} from the first. To train with the first:"

"""`distance`: how far a recipe's data lie from others."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from lightning_tl.backbones import Backbone
from lightning_tl.choosing.distance.distance_text import distance_json, distance_lines
from lightning_tl.choosing.distance.domain_distance import domain_distance
from lightning_tl.choosing.distance.domain_samples import Domain, DomainSamples
from lightning_tl.choosing.distance.kept_features import beside_weights, read_features, write_features
from lightning_tl.choosing.distance.thresholds import Thresholds
from lightning_tl.cli.commands.distance_options import BESIDE, OWN, DistanceOptions
from lightning_tl.cli.errors import UserError
from lightning_tl.cli.reading.data_places import FOLDER_CLASS, place_field, reader_of_folder
from lightning_tl.cli.reading.lasting_paths import sources
from lightning_tl.cli.transfer_cli import TransferCLI
from lightning_tl.embedding import EmbeddingSettings, backbone_of, load_trained_backbone
from lightning_tl.storage.partial_file import write_whole
from lightning_tl.training.frozen_weights import backbone_name


class DistanceCLI(TransferCLI):
    """Reads the recipe twice, with the target's and with the source's data, builds no Trainer, and measures.

    Args:
        options: from `read_distance_options`.
    """

    def __init__(self, options: DistanceOptions) -> None:
        self.wanted = options
        self.settings = EmbeddingSettings(options.precision)
        given = options.run.arguments
        if reader := reader_of_folder(given):
            print(f"data.root is read by {FOLDER_CLASS}", flush=True)
            place = next(k for k, word in enumerate(given) if word.startswith("--data."))
            given = [*given[:place], *reader, *given[place:]]
        super().__init__(replace(options.run, arguments=given))

    def before_instantiate_classes(self) -> None:
        """No Trainer is checked."""
        self.leave_paths_of_another_class()

    def instantiate_classes(self) -> None:
        """Build the model, and both data."""
        data = self.field(self.config, "data")
        if data is None:
            raise UserError(f"the recipe {self.options.name} has no data to measure; name a data module with --data")
        config = None
        if not self.wanted.kept:
            config = self.parser.parse_args(self._source_arguments(str(data.class_path)))
            self._check_apart(data, self.field(config, "data"))
        torch.manual_seed(self.field(self.config, "seed_everything") or 0)  # of weights that are drawn
        built = self.parser.instantiate(self.config)
        self.model, self.datamodule = self.field(built, "model"), self.field(built, "data")
        self.source_data = None if config is None else self.field(self.parser.instantiate(config), "data")

    def _source_arguments(self, target_class: str) -> list[str]:
        """The command line by which the source is read."""
        given, source = self.options.arguments, self.wanted.source
        if source == OWN:
            kept = [word for word in given if not word.startswith(("--data=", "--data."))]
            return [*kept, *self.wanted.source_fields]
        place = place_field(target_class)
        if not Path(source).expanduser().exists() and place != "path":  # a path may name a data set of the hub
            raise UserError(f"source: there is no {source}")
        if place is None:
            kept = [word for word in given if not word.startswith(("--data=", "--data."))]
            return [*kept, f"--data={FOLDER_CLASS}", f"--data.root={source}", *self.wanted.source_fields]
        return [*given, f"--data.{place}={source}", *self.wanted.source_fields]

    def _check_apart(self, target: Any, source: Any) -> None:
        both = sources(target), sources(source)
        if both[0] == both[1] and not self.wanted.source_fields:
            raise UserError(
                f"source and data are the same ({self.wanted.source}), and the distance of a thing to itself is 0: "
                "name other data with --source, or with --data.root or --data.path"
            )

    def run_subcommand(self, subcommand: str) -> None:
        """See the class."""
        backbone, wanted = backbone_of(self.model), self.wanted
        name, checkpoint = backbone_name(backbone), self.field(self.config, "ckpt_path")
        if checkpoint is not None:
            load_trained_backbone(self.model, Path(checkpoint))
            name = f"{name} as trained in {self.options.run or checkpoint}"
        opened = None if self.source_data is None else self._domain(backbone, name, self.source_data, "source")
        data = self._domain(backbone, name, self.datamodule, "target")
        source = self._kept(backbone, name) if opened is None else opened.samples(wanted.features)
        if wanted.keep_source is not None:
            write_features(wanted.keep_source, source, backbone)
        target = data.samples(wanted.features)
        found = domain_distance(source, target, wanted.folds, wanted.permutations)
        limits = Thresholds.shipped()
        print("\n".join(["", *distance_lines(found, source, target, limits)]), flush=True)
        if wanted.output is not None:
            content = {"backbone": name, **distance_json(found, source, target, limits)}
            write_whole(wanted.output, json.dumps(content, indent=2, ensure_ascii=False) + "\n")

    def _domain(self, backbone: Backbone, name: str, data: Any, side: str) -> Domain:
        wanted, accelerator = self.wanted, str(self.field(self.config, "trainer").accelerator)
        return Domain(backbone, name, data, side, wanted.folds, wanted.most, self.settings, accelerator)

    def _kept(self, backbone: Backbone, name: str) -> DomainSamples:
        """Features of a source that is not read."""
        given = self.wanted.source
        path = beside_weights(backbone) if given == BESIDE else Path(given).expanduser()
        if not path.is_file():
            raise UserError(f"source: there is no {path}")
        return read_features(path, backbone, name)

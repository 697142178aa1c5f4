"""`forget`: what an adaptation left of what a backbone knew."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from lightning_tl.adaptation import Reinitialised
from lightning_tl.backbones import Backbone
from lightning_tl.choosing.features.every_layer import EveryLayer
from lightning_tl.choosing.features.labelled_features import LabelledFeatures, labelled_features
from lightning_tl.choosing.forgetting.kept_ability import kept_ability
from lightning_tl.cli.commands.forget_options import ForgetOptions
from lightning_tl.cli.errors import UserError
from lightning_tl.cli.options import Options
from lightning_tl.cli.reading.save_run_config import saved_fields
from lightning_tl.cli.reading.source_data import source_fields
from lightning_tl.cli.run_folder import check_run
from lightning_tl.cli.transfer_cli import TransferCLI
from lightning_tl.contracts.batches import TextSpec
from lightning_tl.contracts.run_description import RunDescription
from lightning_tl.embedding import EmbeddingSettings, backbone_of, load_trained_backbone
from lightning_tl.storage.partial_file import write_whole
from lightning_tl.storage.tensor_digest import tensor_digest
from lightning_tl.training.frozen_weights import backbone_name
from lightning_tl.training.transfer_module import TransferModule


class ForgetCLI(TransferCLI):
    """Builds the run's model twice over, before and after its training, and data that are not the run's.

    Args:
        options: from `read_forget_options`.
    """

    def __init__(self, options: ForgetOptions) -> None:
        self.wanted = options
        fields = saved_fields(check_run(options.run))
        if fields.get("model") is None:
            raise UserError(f"the config.yaml of {options.run} names no model")
        texts = _reads_texts(options.run, fields)
        fields = {name: fields[name] for name in ("model", "trainer", "seed_everything") if name in fields}
        source = source_fields(options.source, texts) if options.source is not None else []
        # The run's own data are left out, with all that says how they were read: the source is another set.
        arguments = ["predict", "--config", yaml.safe_dump(fields, sort_keys=False), *source, *options.rest]
        super().__init__(Options("predict", options.run.name, arguments))

    def before_instantiate_classes(self) -> None:
        """Nothing: there is no Trainer."""

    def instantiate_classes(self) -> None:
        """Build model and data; there is no Trainer."""
        self.config_init = self.parser.instantiate(self.config)
        self.model, self.datamodule = (self.field(self.config_init, name) for name in ("model", "data"))

    def run_subcommand(self, subcommand: str) -> None:
        """See the class."""
        run, model = self.wanted.run, self.model
        backbone = backbone_of(model)
        if not isinstance(model, TransferModule) or isinstance(model.adaptation, Reinitialised) or _is_fresh(backbone):
            raise UserError(
                f"{run} trained its backbone from scratch ({type(model).__name__}), so there was nothing to forget; "
                "take a run that began with pretrained weights"
            )
        name, weights = backbone_name(backbone), tensor_digest(backbone.state_dict())
        before, layers = self._features(backbone, name)
        load_trained_backbone(model, self.wanted.checkpoint)
        if tensor_digest(backbone.state_dict()) == weights:
            print(f"{run} left every weight of {name} as it was ({type(model).__name__}): nothing was forgotten")
            self._write({"unchanged": True})
            return
        after, layers_after = self._features(backbone, f"{name} as trained in {run}")
        found = kept_ability(before, after, layers, layers_after)
        print("\n".join(["", *found.lines()]), flush=True)
        self._write({"unchanged": False, **found.as_json()})

    def _write(self, found: dict[str, Any]) -> None:
        """What was found, with what it is about; the hash tells whether another run was asked about these samples."""
        if self.wanted.output is None:
            return
        read = np.concatenate([self.datamodule.indices[split] for split in ("train", "validation")])
        about = {
            "run": str(self.wanted.run),
            "source": self.wanted.source,
            "source_sha256": self.datamodule.fingerprint(read),
            "backbone": backbone_name(backbone_of(self.model)),
        }
        write_whole(self.wanted.output, json.dumps(about | found, indent=2) + "\n")

    def _features(self, backbone: Backbone, name: str) -> tuple[LabelledFeatures, dict[str, slice]]:
        every = EveryLayer(backbone)
        accelerator = str(self.field(self.config, "trainer").accelerator)
        settings = EmbeddingSettings("32")
        kept = labelled_features(every, name, self.datamodule, self.wanted.features, settings, accelerator)
        return kept, every.columns


def _is_fresh(backbone: Backbone) -> bool:
    return getattr(backbone, "arguments", {}).get("weights", True) in (False, None)


def _reads_texts(run: Path, fields: dict[str, object]) -> bool:
    """Whether the run's model reads texts, by its description, else by the class of its data."""
    description = RunDescription.read(run)
    if description is not None and description.input:
        return bool(description.input.get("kind") == "texts")
    return TextSpec.__name__.removesuffix("Spec") in str(fields.get("data"))

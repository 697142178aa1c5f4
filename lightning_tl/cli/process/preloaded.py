"""`PRELOADED`: what is imported once, before jobs of a study or sweep are forked."""

from __future__ import annotations

# With the models of transformers, which most recipes adapt, a job of few steps takes a fifth less of a processor.
PRELOADED = ("lightning_tl.cli.transfer_cli", "transformers.modeling_utils", "peft")

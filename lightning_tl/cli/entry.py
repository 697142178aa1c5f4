"""`lightning-tl` and `scripts/fit.py` start here."""

from __future__ import annotations

import importlib
import io
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from lightning_tl.cli.commands.advise_options import advise_help, read_advise_options
from lightning_tl.cli.commands.attention_options import attention_help, read_attention_options
from lightning_tl.cli.commands.backbones_options import backbones_help, read_backbones_options
from lightning_tl.cli.commands.chips_options import chips_help, read_chips_options
from lightning_tl.cli.commands.compare_options import compare_help, read_compare_options
from lightning_tl.cli.commands.distance_options import DriftOptions, distance_help, read_distance_options
from lightning_tl.cli.commands.embed_options import embed_help, read_embed_options
from lightning_tl.cli.commands.export_options import export_help, read_export_options
from lightning_tl.cli.commands.forget_options import forget_help, read_forget_options
from lightning_tl.cli.commands.index_options import index_help, read_index_options
from lightning_tl.cli.commands.lr_find_options import lr_find_help, read_lr_find_options
from lightning_tl.cli.commands.map_options import map_help, read_map_options
from lightning_tl.cli.commands.predict_many_options import read_predict_many_options, wants_output
from lightning_tl.cli.commands.push_options import push_help, read_push_options
from lightning_tl.cli.commands.recommend_options import RecommendOptions, read_recommend_options, recommend_help
from lightning_tl.cli.commands.serve_options import read_serve_options, serve_help
from lightning_tl.cli.commands.sweep_options import read_sweep_options, sweep_help
from lightning_tl.cli.errors import SHOW_TRACEBACK, fail, is_users_mistake, message_of, own_cause
from lightning_tl.cli.options import SUBCOMMANDS, help_text, read_options
from lightning_tl.cli.process.output import make_output_last
from lightning_tl.cli.process.signals import end_with_a_line
from lightning_tl.cli.run_folder import RUN_FOLDER
from lightning_tl.version import version_text

_HELP = {
    "advise": advise_help,
    "attention": attention_help,
    "backbones": backbones_help,
    "chips": chips_help,
    "compare": compare_help,
    "distance": distance_help,
    "embed": embed_help,
    "export": export_help,
    "forget": forget_help,
    "index": index_help,
    "lr_find": lr_find_help,
    "map": map_help,
    "push": push_help,
    "recommend": recommend_help,
    "serve": serve_help,
    "sweep": sweep_help,
}

# How the options of a command are read, and what then runs it, which is imported no earlier.
_COMMANDS: dict[str, tuple[Callable[[Sequence[str]], Any], str]] = {
    "advise": (read_advise_options, "advise.run_advise"),
    "attention": (read_attention_options, "attention.run_attention"),
    "backbones": (read_backbones_options, "backbones.BackbonesCLI"),
    "chips": (read_chips_options, "chips.run_chips"),
    "compare": (read_compare_options, "compare.run_compare"),
    "distance": (read_distance_options, "distance.DistanceCLI"),
    "embed": (read_embed_options, "embed.EmbedCLI"),
    "export": (read_export_options, "export.ExportCLI"),
    "forget": (read_forget_options, "forget.ForgetCLI"),
    "index": (read_index_options, "index.IndexCLI"),
    "lr_find": (read_lr_find_options, "lr_find.LrFindCLI"),
    "map": (read_map_options, "map.MapCLI"),
    "push": (read_push_options, "push.run_push"),
    "recommend": (read_recommend_options, "recommend.RecommendCLI"),
    "serve": (read_serve_options, "serve.run_serve"),
    "sweep": (read_sweep_options, "sweep.run_sweep"),
}
_STARTS_OTHERS = ("advise", "compare", "sweep")  # further command lines, by `main`


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line; a user's mistake ends with one message and exit code 2, Ctrl-C with 130.

    Args:
        argv: arguments without the program's name; default those of this process.
    """
    started = time.time()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name that the terminal cannot show must not end a run
    arguments = list(sys.argv[1:] if argv is None else argv)
    if argv is None:  # not within another program, such as a test runner
        make_output_last()
        end_with_a_line()
    if "--traceback" in arguments:
        arguments = [argument for argument in arguments if argument != "--traceback"]
        os.environ[SHOW_TRACEBACK] = "1"
    if "--version" in arguments:
        print(version_text())
        return
    if arguments and arguments[0] in _HELP and {"-h", "--help"} & set(arguments):
        print(_HELP[arguments[0]]())
        return
    if not (arguments and arguments[0] in SUBCOMMANDS) and {"-h", "--help"} & set(arguments):
        print(help_text())
        return
    if {"-h", "--help"} & set(arguments):
        print(f"{help_text()}\n\nall fields:", flush=True)
    try:
        if os.getcwd() not in sys.path:
            sys.path.insert(0, os.getcwd())  # the user's own classes, named in the user's own YAML
        _run(arguments, started)
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        raise SystemExit(130) from None
    except Exception as error:
        cause = own_cause(error)
        if os.environ.get(SHOW_TRACEBACK) == "1" or not is_users_mistake(cause):
            raise
        fail(message_of(cause))
    finally:
        os.environ.pop(RUN_FOLDER, None)


def _run(arguments: Sequence[str], started: float) -> None:
    name, rest = (arguments[0] if arguments else "", list(arguments[1:]))
    if name == "trial" and rest and rest[0].startswith("{"):  # by a sweep, not by people
        from lightning_tl.cli.commands.trial import TrialCLI

        TrialCLI(rest, started)
        return
    if name in _COMMANDS:
        read, place = _COMMANDS[name]
        wanted = read(rest)
        if isinstance(wanted, DriftOptions):
            place = "drift.run_drift"
        if isinstance(wanted, RecommendOptions) and wanted.users is not None:
            place = "recommend_many.RecommendManyCLI"
        module, _, function = place.partition(".")
        run = getattr(importlib.import_module(f"lightning_tl.cli.commands.{module}"), function)
        run(*([wanted, main] if name in _STARTS_OTHERS else [wanted]))
        return
    if name == "predict" and wants_output(rest):
        wanted = read_predict_many_options(rest)
        from lightning_tl.cli.commands.predict_many import PredictManyCLI

        PredictManyCLI(wanted)
        return
    options = read_options(arguments)
    from lightning_tl.cli.checks.priors import prior_correction
    from lightning_tl.cli.transfer_cli import TransferCLI

    correction = prior_correction(options)
    TransferCLI(options, started)
    if correction is not None:
        correction.finish()

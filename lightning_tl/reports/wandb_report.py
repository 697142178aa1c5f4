"""Weights & Biases: the run folder, logged there as well."""

from __future__ import annotations

import netrc
import os
import secrets
import string
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import lightning.pytorch as pl
import pyarrow.parquet as pq
import torch
import yaml
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from lightning_tl.contracts.notice import Notice
from lightning_tl.reports.attempt import attempt
from lightning_tl.reports.predictions import read_class_names
from lightning_tl.reports.summary import read_summary, short_path

_TEST_PICTURES = (
    *("confusion_matrix", "reliability", "predicted_against_true", "wrong_tiles", "wrong_texts"),
    *("slices", "popularity", "embedding_map"),
)


def wandb_logger(
    run_folder: str | os.PathLike[str],
    checkpoint: str | os.PathLike[str] | None = None,
    project: str = "lightning_tl",
    **options: Any,
) -> WandbLogger:
    """Lightning's `WandbLogger` for a run folder, offline when there is no account.

    The run's id is read from `<run folder>/wandb_id`, else from the checkpoint, else drawn; so a resumed run goes on
    in the same W&B run. `WANDB_MODE` decides between online and offline; without it a run is offline when neither
    `WANDB_API_KEY` is set nor `wandb login` has left a key.

    Args:
        run_folder: W&B's own files go to its subfolder `wandb`.
        checkpoint: the file that the run resumes from, if any.
        project: W&B project.
        **options: for `wandb.init`, for example `entity`, `tags` or `name`.

    Raises:
        ModuleNotFoundError: when wandb is not installed.
    """
    try:
        import wandb
    except ImportError as error:
        raise ModuleNotFoundError(
            "logging to Weights & Biases needs the package wandb, which is not installed: python -m pip install wandb"
        ) from error
    folder = Path(run_folder)
    mode = os.environ.get("WANDB_MODE") or ("online" if _has_key() else "offline")
    options.setdefault("name", "/".join(folder.absolute().parts[-2:]))
    options.setdefault("settings", wandb.Settings(silent=mode != "online"))
    identifier = _run_id(folder, Path(checkpoint) if checkpoint is not None else None)
    return WandbLogger(save_dir=folder, project=project, id=identifier, mode=mode, **options)


def finish_wandb(failed: bool = False) -> None:
    """Close the W&B run of this process, if one is open: a later run in the same process would go on in it.

    Args:
        failed: mark the run as failed.
    """
    import wandb

    if wandb.run is not None:
        wandb.finish(exit_code=int(failed))


class WandbReport(Callback):
    """Logs configuration, pictures, predictions and the exported model to the run of a `WandbLogger`.

    Metrics come from the logger itself. It reads what `RunReport` or `RetrievalReport` wrote, so it does nothing
    without them. Only the first process logs.

    Args:
        config: logged as the run's configuration; default `<run folder>/config.yaml`.
        table_rows: the most rows of the predictions table; the whole is in `predictions/test.parquet`.
    """

    def __init__(self, config: Mapping[str, Any] | None = None, table_rows: int = 10_000) -> None:
        if table_rows < 1:
            raise ValueError(f"table_rows must be at least 1, got {table_rows}")
        self.config = config
        self.table_rows = table_rows
        self.run_id: str | None = None

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps of it."""
        return {"run_id": self.run_id}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Warn where the checkpoint belongs to another W&B run."""
        earlier = state_dict["run_id"]
        if None not in (self.run_id, earlier) and earlier != self.run_id:
            warnings.warn(
                f"the checkpoint belongs to W&B run {earlier}, but this run logs to {self.run_id}; "
                "to go on in the same one, pass the checkpoint to wandb_logger",
                stacklevel=2,
                category=Notice,
            )

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Note the number of the W&B run."""
        logger = _logger(trainer)
        self.run_id = None if logger is None else str(logger.version)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the configuration."""
        if (run := _run(trainer)) is None:
            return
        config, path = self.config, Path(trainer.default_root_dir) / "config.yaml"
        if config is None and path.is_file():
            config = yaml.safe_load(path.read_text())
        run.config.update(dict(config or {}), allow_val_change=True)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the pictures of training."""
        if (run := _run(trainer)) is not None:
            attempt("the pictures in W&B", lambda: _log_pictures(run, trainer, ("curves", "learning_rates")))

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Log pictures, predictions and model after a test."""
        # RunReport writes in on_test_end, which comes before every teardown, whatever the order of the callbacks.
        if stage != "test" or (run := _run(trainer)) is None:
            return
        attempt("the pictures in W&B", lambda: _log_pictures(run, trainer, _TEST_PICTURES))
        attempt("the predictions in W&B", lambda: self._log_predictions(run, trainer))
        attempt("the model in W&B", lambda: _log_model(run, trainer))
        if run.offline:
            print(f"  W&B            offline; after `wandb login`, upload the run with\n    {_sync(run)}\n", flush=True)

    def _log_predictions(self, run: Any, trainer: pl.Trainer) -> None:
        import wandb

        path = Path(trainer.default_root_dir) / "predictions" / "test.parquet"
        if not path.is_file():
            return
        stored = pq.read_table(path)
        rows = stored.slice(0, self.table_rows).to_pylist()
        if "probabilities" not in stored.column_names:  # of retrieval: users, items and ranks
            data = [[row[name] for name in stored.column_names] for row in rows]
            run.log({"predictions/test": wandb.Table(columns=stored.column_names, data=data)})
            return
        names = read_class_names(stored.schema)
        labels = [name for name in ("id", "label", "predicted") if name in stored.column_names]
        data = [[*(_cell(row[name]) for name in labels), *row["probabilities"]] for row in rows]
        table = wandb.Table(columns=[*labels, *(f"p({name})" for name in names)], data=data)
        run.log({"predictions/test": table})


def _logger(trainer: pl.Trainer) -> WandbLogger | None:
    return next((logger for logger in trainer.loggers if isinstance(logger, WandbLogger)), None)


def _run(trainer: pl.Trainer) -> Any | None:
    """The W&B run on the first process, None on others and without a `WandbLogger`."""
    logger = _logger(trainer)
    return logger.experiment if logger is not None and trainer.is_global_zero else None


def _log_pictures(run: Any, trainer: pl.Trainer, names: tuple[str, ...]) -> None:
    import wandb

    folder = Path(trainer.default_root_dir) / "pictures"
    found = {f"pictures/{n}": wandb.Image(str(folder / f"{n}.png")) for n in names if (folder / f"{n}.png").is_file()}
    if found:
        run.log(found)


def _log_model(run: Any, trainer: pl.Trainer) -> None:
    import wandb

    folder = Path(trainer.default_root_dir)
    summary = read_summary(folder)
    test = summary.get("test", {})
    kinds = ("accuracy", "macro_f1", "interval", "miou", "pixel_accuracy")
    run.summary.update({f"test/{k}": test[k] for k in kinds if test.get(k) is not None})
    if test.get("task") == "retrieval":
        found = test["models"][test["model"]]["per_query"]
        run.summary.update({f"test/{name}": value["value"] for name, value in found.items()})
    if model := summary.get("model"):
        artifact = wandb.Artifact(f"model-{run.id}", type="model", metadata={"load": model["load"]})
        artifact.add_dir(str(folder / model["folder"]))
        run.log_artifact(artifact)


def _cell(value: Any) -> Any:
    return ", ".join(map(str, value)) if isinstance(value, list) else value


def _sync(run: Any) -> str:
    """The command that uploads this run, with the parts before a resume."""
    folder = Path(run.sync_dir)
    parts = [p for p in folder.parent.glob(f"offline-run-*-{run.id}") if p.is_dir()]
    pattern = f"{short_path(folder.parent)}/offline-run-*-{run.id}"
    return f"wandb sync {pattern if len(parts) > 1 else short_path(folder)}"


def _has_key() -> bool:
    """Whether the user has logged in to W&B on this machine."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    files = [os.environ.get("NETRC", ""), "~/.netrc", "~/_netrc"]
    path = next((p for p in (Path(f).expanduser() for f in files if f) if p.is_file()), None)
    try:
        return path is not None and host in netrc.netrc(path).hosts
    except (OSError, netrc.NetrcParseError):
        return False


def _run_id(folder: Path, checkpoint: Path | None) -> str:
    path = folder / "wandb_id"
    if path.is_file() and (kept := path.read_text().strip()):
        return kept
    identifier = _checkpoint_id(checkpoint) if checkpoint is not None else None
    if identifier is None:
        identifier = "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(8))
    _keep(path, identifier)
    return identifier


@rank_zero_only
def _keep(path: Path, identifier: str) -> None:
    """On the first process only: the others log nothing, so their id does not matter."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(identifier + "\n")


def _checkpoint_id(checkpoint: Path) -> str | None:
    callbacks = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True).get("callbacks", {})
    found = (state.get("run_id") for key, state in callbacks.items() if key.startswith(WandbReport.__qualname__))
    return next((identifier for identifier in found if identifier), None)

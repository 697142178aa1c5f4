"""`PartsOnRay`: the parts of a table as a job of Ray Data, whose workers open model and data once each."""

from __future__ import annotations

import logging
import os
import socket
import sys
import textwrap
import traceback
import warnings
from collections.abc import Callable
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from lightning_tl.cli.errors import UserError, is_users_mistake, message_of, own_cause
from lightning_tl.cli.process.parts_job import PartsJob
from lightning_tl.embedding.ray_cluster import check_node_sees, check_ray_is_installed, connect
from lightning_tl.reports.progress import progress_bar

_RETRIES = 3  # by Ray, of a worker that died; what fails by itself is not repeated
_CALLS = 16  # for each worker, so that a quick one takes over what a slow one has not begun
_TOLD = 300  # characters of a reason of Ray's

Batch = dict[str, npt.NDArray[Any]]


class PartsOnRay:
    """Shares parts among the processors or GPUs of a Ray cluster, which write them to the folder of the output.

    The run, the data, the output and the folder in which the command was started must be seen by all nodes under the
    same names; who reads something else than this process does is refused. Used as a context manager.

    Args:
        address: see `connect`; not through `ray://`.
        opener: opens the same job on a node.

    Raises:
        ValueError: Ray is not installed, no cluster answers, the address is of Ray's client, or torchrun started this
            process.
    """

    def __init__(self, address: str, opener: Callable[[], PartsJob]) -> None:
        self.address, self.opener = address, opener
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise UserError("--ray and torchrun both share the work: start one process with --ray, or leave --ray out")
        if address.startswith("ray://"):
            raise UserError(
                f"many rows do not go through Ray's client, got --ray {address}: start the command on a machine of the "
                "cluster, with --ray auto"
            )
        check_ray_is_installed()
        self._ours = connect(address)

    def __enter__(self) -> PartsOnRay:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._ours:
            import ray

            ray.shutdown()

    def make(self, job: PartsJob) -> None:
        """Write the parts that are not there.

        Raises:
            ValueError: a node does not see the files or reads others, or workers die again and again.
            RuntimeError: a part failed on a node; with the traceback there.
        """
        import ray.data
        from ray.exceptions import RayError

        left = job.parts.left(0, 1)
        if not left:
            return
        resources: Any = ray.cluster_resources  # which says nothing of types
        gpus = int(resources().get("GPU", 0)) if job.gpu else 0
        workers = min(len(left), gpus or max(1, int(resources().get("CPU", 1))))
        print(f"on {workers:,} {'GPUs' if gpus else 'processors'} of the Ray cluster {self.address}", flush=True)
        ray.data.DataContext.get_current().enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # errors are told below
        numbers = [{"part": part} for part in left]
        blocks = ray.data.from_items(numbers, override_num_blocks=min(len(left), workers * _CALLS))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the bounds of retries, see the extra `ray`
            calls = blocks.map_batches(
                _Worker,
                fn_constructor_args=(self.opener, job.parts.job, os.getcwd(), str(job.parts.folder.absolute())),
                batch_size=None,
                compute=ray.data.ActorPoolStrategy(size=workers),
                num_cpus=1,
                num_gpus=1 if gpus else 0,
                max_restarts=_RETRIES,  # by itself Ray Data would go on for ever
                max_task_retries=_RETRIES,
            )
        bar = progress_bar(len(left), "On Ray", "parts", True)
        try:
            for told in calls.iter_rows():
                _check(told)
                bar.update(told["made"])
        except RayError as lost:
            lines = [line.strip() for line in str(lost).splitlines() if line.strip()]
            why = textwrap.shorten(lines[-1] if lines else type(lost).__name__, _TOLD, placeholder=" …")
            raise UserError(
                f"Ray did not finish the job ({why}); parts that are done are kept, and the same command goes on "
                "behind them"
            ) from None
        finally:
            bar.close()


def _check(told: dict[str, Any]) -> None:
    if told["mistake"]:
        raise UserError(told["mistake"])
    if told["defect"]:
        raise RuntimeError(f"a part failed on the node {told['node']}:\n{told['defect']}")


class _Worker:
    """On a node: opens the job at its first call, where a failure can be told, and writes parts."""

    def __init__(self, opener: Callable[[], PartsJob], wanted: dict[str, object], folder: str, output: str) -> None:
        self._opener, self._wanted, self._places = opener, wanted, (folder, output)
        self._job: PartsJob | None = None

    def __call__(self, batch: Batch) -> Batch:
        """Part numbers [n] of a block; a row of what was made, or what went wrong."""
        mistake = defect = ""
        try:
            if self._job is None:
                self._job = self._opened()
            self._job.make(self._job.parts.missing(batch["part"].tolist()), False)
        except (Exception, SystemExit) as error:
            cause = own_cause(error) if isinstance(error, Exception) else error
            if isinstance(cause, Exception) and is_users_mistake(cause):
                mistake = message_of(cause)
            else:
                defect = traceback.format_exc()
        told = {"made": len(batch["part"]), "mistake": mistake, "defect": defect, "node": socket.gethostname()}
        return {name: np.array([value]) for name, value in told.items()}

    def _opened(self) -> PartsJob:
        check_node_sees(self._places)
        folder = self._places[0]
        os.chdir(folder)
        if folder not in sys.path:
            sys.path.insert(0, folder)  # the user's own classes, as in `main`
        job = self._opener()
        if job.parts.job != self._wanted:
            raise ValueError(
                f"the node {socket.gethostname()} reads other data, weights or settings than the machine on which the "
                "command was started: all nodes must see the same files, and need the same installation"
            )
        return job

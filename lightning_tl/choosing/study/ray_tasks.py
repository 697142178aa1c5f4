"""Jobs of a study as tasks of a Ray cluster."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError

from lightning_tl.choosing.study.processes import Command, Job, Processes
from lightning_tl.embedding.ray_cluster import check_node_sees, connect

_RETRIES = 3  # by Ray, of a task whose worker or node died; a job that fails by itself is not repeated


class RayTasks:
    """Runs jobs on a Ray cluster, as many at a time as it has processors or GPUs for; Ray places and retries them.

    Each job has a process of its own on its node, as in `Processes`, and its folders must be seen by all nodes. A job
    whose worker or node died goes on from the last checkpoint of its run.

    Args:
        command: see `Processes`.
        address: of the cluster, see `connect`.
        cpu: whether jobs use no GPU, also where the cluster has some.
        seen: a file that every node must see.
        preload: see `Processes`.

    Raises:
        ValueError: no cluster answers there.
    """

    def __init__(self, command: Command, address: str, cpu: bool, seen: Path, preload: Sequence[str] = ()) -> None:
        self.command, self.seen, self.preload = command, seen, list(preload)
        connect(address)
        resources: Any = ray.cluster_resources  # which says nothing of types
        self.gpus = 0 if cpu or resources().get("GPU", 0) < 1 else 1

    def run(self, jobs: Sequence[Job]) -> Iterator[tuple[int, str | None]]:
        """Run the jobs.

        Returns:
            for each as it ends, its number and why it failed, or None.
        """
        task = ray.remote(num_cpus=1, num_gpus=self.gpus, max_retries=_RETRIES)(_job)
        about = (self.command, self.preload, str(self.seen), os.getcwd())
        waiting = {task.remote(job, *about): number for number, job in enumerate(jobs)}
        try:
            while waiting:
                (done,), _ = ray.wait(list(waiting), num_returns=1)
                number = waiting.pop(done)
                try:
                    error: str | None = ray.get(done)
                except RayError as lost:
                    told = [line for line in str(lost).splitlines() if line.strip()]
                    error = f"Ray: {told[-1].strip() if told else type(lost).__name__}"
                yield number, error
        except BaseException:  # Ctrl-C, or nobody wants more: jobs keep their checkpoints first
            for reference in waiting:
                ray.cancel(reference)
            if waiting:
                ray.wait(list(waiting), num_returns=len(waiting), timeout=60)
            raise


def _job(job: Job, command: Command, preload: Sequence[str], seen: str, folder: str) -> str | None:
    """On a node: run a job; why it failed, or None."""
    try:
        check_node_sees((seen, folder))
    except ValueError as unseen:
        return str(unseen)
    os.chdir(folder)
    arguments = _after_a_loss(job.arguments)
    for _, error in Processes(command, (), preload).run([replace(job, arguments=arguments)]):
        return error
    return None


def _after_a_loss(arguments: list[str]) -> list[str]:
    """The command of a run whose folder has something already, which is of a task that died: it goes on, or anew."""
    if "--run_folder" not in arguments or arguments[0] != "fit":
        return arguments
    run = Path(arguments[arguments.index("--run_folder") + 1])
    if (run / "checkpoints" / "last.ckpt").is_file():
        return ["fit", "--resume", str(run), "--test=false"]
    shutil.rmtree(run, ignore_errors=True)
    return arguments

"""A Ray cluster of this machine alone, for tests; those that start one are skipped where the extra `ray` is missing."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

with_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the extra `ray` is not installed")


@contextmanager
def own_cluster(processors: int = 2) -> Iterator[Any]:
    """Ray, connected to a cluster of as many processors."""
    import ray

    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("RAY_AUTH_MODE", "disabled"), ("RAY_USAGE_STATS_ENABLED", "0")):
            patch.setenv(name, value)
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))  # so that workers can import the tests
        small = {"num_cpus": processors, "object_store_memory": 100 * 2**20, "include_dashboard": False}
        ray.init(**small, log_to_driver=False, logging_level="ERROR")
        yield ray
        ray.shutdown()

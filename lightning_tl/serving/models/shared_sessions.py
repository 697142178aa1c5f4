"""`SharedSessions`: graphs that are opened once for all models that adapt the same frozen backbone."""

from __future__ import annotations

import threading
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

TRAINED = "trained.npz"  # weights of a graph that may be exchanged, by their names in it

Weights = dict[str, NDArray[Any]]


class SharedSessions:
    """Opens graphs; of those that differ in the trained weights alone the first stands for all, and is fed the others'.

    A graph is forgotten once no model uses it. Its methods may be called from several threads.
    """

    def __init__(self) -> None:
        self._open: weakref.WeakValueDictionary[tuple[str, int], Any] = weakref.WeakValueDictionary()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._open)

    def open(self, folder: Path, graph: str, base: str | None, threads: int) -> tuple[Any, Weights]:
        """A session, and what it is to be fed besides a sample.

        Args:
            folder: of the bundle.
            graph: its file.
            base: hash of the graph without its trained weights; None where these cannot be exchanged.
            threads: of one answer.

        Raises:
            ValueError: ONNX Runtime does not open the graph.
        """
        if base is None:
            return opened(folder / graph, threads), {}
        with np.load(folder / TRAINED, allow_pickle=False) as file:
            weights = {name: file[name] for name in file.files}
        with self._lock:
            session = self._open.get((base, threads))
            if session is None:
                session = self._open[base, threads] = opened(folder / graph, threads)
        return session, weights


def opened(path: Path, threads: int) -> Any:
    """A session of ONNX Runtime on the processor.

    Raises:
        ValueError: it does not open the graph.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's own types derive from Exception alone
        raise ValueError(f"ONNX Runtime {onnxruntime.__version__} does not open {path}: {error}") from None

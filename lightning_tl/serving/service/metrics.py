"""What the service tells Prometheus."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from lightning_tl.serving.service.served_model import ServedModel

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


class ServiceMetrics:
    """Counts and times of one service, apart from those of any other in the process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.seconds = Histogram(
            "lightning_tl_request_seconds",
            "From the head of a request to the end of its answer",
            ["endpoint", "model"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.answers = Counter(
            "lightning_tl_answers", "Answers by status", ["endpoint", "model", "status"], registry=self.registry
        )
        self.batch = Histogram(
            "lightning_tl_batch_samples", "Samples of a batch", ["model"], buckets=_SIZES, registry=self.registry
        )
        self.reloads = Counter("lightning_tl_reloads", "Reloads", ["model", "result"], registry=self.registry)

    def answered(self, endpoint: str, model: str, status: int, seconds: float) -> None:
        """One request is over."""
        self.seconds.labels(endpoint, model).observe(seconds)
        self.answers.labels(endpoint, model, str(status)).inc()

    def batched(self, model: str, samples: int) -> None:
        """One batch is computed."""
        self.batch.labels(model).observe(samples)

    def watch(self, models: Mapping[str, ServedModel]) -> None:
        """Tell what models are like when somebody asks."""
        self.registry.register(_ModelStates(models))

    def text(self) -> bytes:
        """As Prometheus reads it."""
        return generate_latest(self.registry)


class _ModelStates(Collector):
    def __init__(self, models: Mapping[str, ServedModel]) -> None:
        self.models = models

    def collect(self) -> Iterable[Metric]:
        info = GaugeMetricFamily(
            "lightning_tl_model_info", "1 for the version now", labels=["model", "version", "kind"]
        )
        queue = GaugeMetricFamily("lightning_tl_queue_samples", "Samples that wait", labels=["model"])
        reading = GaugeMetricFamily(
            "lightning_tl_reading_requests", "Requests that are being read or prepared", labels=["model"]
        )
        age = GaugeMetricFamily("lightning_tl_index_age_seconds", "Since the index was written", labels=["model"])
        recall = GaugeMetricFamily(
            "lightning_tl_index_recall", "Of the index, on held-out users", labels=["model", "k"]
        )
        for name, served in self.models.items():
            facts = served.now.facts
            info.add_metric([name, facts.version, facts.kind], 1)
            queue.add_metric([name], len(served.now.batcher))
            reading.add_metric([name], served.now.batcher.announced)
            index = facts.card.get("index")
            if not isinstance(index, Mapping):
                continue
            if isinstance(built := index.get("built"), (int, float)):
                age.add_metric([name], max(0.0, time.time() - built))
            for fact, share in index.items():
                if fact.removeprefix("recall_at_").isdigit() and isinstance(share, (int, float)):
                    recall.add_metric([name, fact.removeprefix("recall_at_")], share)
        return [info, queue, reading, age, recall]

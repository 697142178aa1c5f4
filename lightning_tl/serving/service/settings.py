"""Limits of the service."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True, kw_only=True)
class ServiceSettings:
    """What the service takes, how long it waits, and how much it holds.

    Args:
        max_batch: most samples that a model computes at once.
        max_wait_ms: how long a sample waits for others that are on their way; alone it never waits.
        queue: most samples that wait for one model; more are refused with 503.
        deadline_s: how long a request may take before it is given up with 504.
        max_body_mb: most MB (10^6 bytes) of one request.
        max_held_mb: most MB of all requests that are being read at a time.
        max_pixels: most pixels of an image, height times width.
        max_characters: most characters of a text.
        max_samples: most images, texts or pairs of one request.
        max_k: most items of a recommendation.
        preparers: threads that decode images and split texts into tokens.

    Raises:
        ValueError: a value that leaves nothing to serve.
    """

    max_batch: int = 16
    max_wait_ms: float = 2.0
    queue: int = 500
    deadline_s: float = 10.0
    max_body_mb: float = 10.0
    max_held_mb: float = 256.0
    max_pixels: int = 50_000_000
    max_characters: int = 100_000
    max_samples: int = 64
    max_k: int = 1_000
    preparers: int = 2

    def __post_init__(self) -> None:
        for setting in fields(self):
            value = getattr(self, setting.name)
            if not value < float("inf") or value < 0 or (value == 0 and setting.name != "max_wait_ms"):
                least = "at least 0" if setting.name == "max_wait_ms" else "above 0"
                raise ValueError(f"{setting.name} must be {least} and finite, got {value}")
        if self.max_held_mb < self.max_body_mb:
            raise ValueError(f"max_held_mb must be at least max_body_mb, {self.max_body_mb}, got {self.max_held_mb}")
        if self.queue < self.max_samples:
            raise ValueError(
                f"queue must hold one request, of up to max_samples {self.max_samples} samples, got {self.queue}"
            )

    @property
    def body_bytes(self) -> int:
        """Most bytes of one request."""
        return int(self.max_body_mb * 1e6)

    @property
    def held_bytes(self) -> int:
        """Most bytes of all requests that are being read."""
        return int(self.max_held_mb * 1e6)

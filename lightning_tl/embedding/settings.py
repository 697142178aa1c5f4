"""How embeddings are computed."""

from __future__ import annotations

from dataclasses import dataclass

PRECISIONS = ("auto", "32", "bf16")
IMAGES_AT_ONCE, TEXTS_AT_ONCE = 64, 1024


@dataclass(frozen=True)
class EmbeddingSettings:
    """How embeddings are computed.

    Args:
        precision: "32"; "bf16" under autocast; "auto" for bf16 where the machine computes with it.
        batch_size: most samples in a batch; default 64 images, or 1,024 texts.
        batch_tokens: most tokens in a batch of texts, padding included.
        save_every: seconds between two parts of the result that are kept; 0 keeps each batch at once.
    """

    precision: str = "auto"
    batch_size: int | None = None
    batch_tokens: int = 8192
    save_every: float = 30.0

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise ValueError(
                f"precision must be {', '.join(PRECISIONS[:-1])} or {PRECISIONS[-1]}, got {self.precision}"
            )
        if self.batch_size is not None and self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {self.batch_size}")
        if self.batch_tokens < 1:
            raise ValueError(f"batch_tokens must be at least 1, got {self.batch_tokens}")
        if not self.save_every >= 0:
            raise ValueError(f"save_every must be at least 0 seconds, got {self.save_every:g}")

    def most(self, texts: bool) -> int:
        """Most samples in a batch."""
        return self.batch_size or (TEXTS_AT_ONCE if texts else IMAGES_AT_ONCE)

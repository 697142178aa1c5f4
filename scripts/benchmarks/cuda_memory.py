"""Memory of a GPU: what torch allocates on it from a moment on."""

from __future__ import annotations

import torch


class CudaMemory:
    """Bytes that tensors take on the GPU beyond what they take now, as counted by torch's own allocator."""

    def __init__(self) -> None:
        torch.cuda.synchronize()
        self.base = self.peak = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()

    def beyond(self) -> int:
        """Bytes at the most until now."""
        torch.cuda.synchronize()
        self.peak = torch.cuda.max_memory_allocated()
        return self.peak - self.base

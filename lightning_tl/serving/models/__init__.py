"""Models that are served: computed by ONNX Runtime, or from vectors of queries and an index; they import no torch."""

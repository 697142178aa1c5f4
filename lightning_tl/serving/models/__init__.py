"""Models that are served, computed by ONNX Runtime."""

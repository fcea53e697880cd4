"""Other programs' formats: PyTorch both ways, ONNX, StableHLO."""

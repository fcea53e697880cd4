"""The official checkpoints, read and written without PyTorch."""

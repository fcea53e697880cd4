"""What computes the network: XLA, or OpenVINO where it is installed. Engines know of arrays, not of files or tiles."""

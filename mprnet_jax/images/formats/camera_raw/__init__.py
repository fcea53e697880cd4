"""Camera raw files, developed by LibRaw (rawpy, the extra `raw`)."""

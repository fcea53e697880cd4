"""What `python tools/benchmark.py` measures, a module for each subject."""

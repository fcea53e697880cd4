"""JPEG XL: what its header says, and pictures through libjxl (imagecodecs)."""

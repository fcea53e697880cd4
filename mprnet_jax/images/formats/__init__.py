"""One module for each file format: bytes <-> pictures, with depth, profile and metadata."""

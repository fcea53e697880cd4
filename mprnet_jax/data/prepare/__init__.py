"""Before training: data sets checked and built."""

"""The machine: its devices, its memory, compiled programs kept between runs, runs of several processes."""

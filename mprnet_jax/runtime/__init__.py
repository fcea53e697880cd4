"""The machine: devices, memory, the compile cache, runs of several processes."""

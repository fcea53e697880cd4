"""Huge pages for a command that takes and gives back much memory; it needs no JAX, so that a restart comes first."""

import os
import sys


def restart_with_huge_pages() -> None:
    """Start this very command anew, once, with a C library that asks the system for huge pages; first thing in it.

    XLA takes the memory of a training step from the system and gives it back at every step: in pages of 4 KB, a tenth
    of the step on a CPU. glibc reads the setting only when a process starts. A GLIBC_TUNABLES of the user's stays.
    """
    if sys.platform == "linux" and "GLIBC_TUNABLES" not in os.environ:
        sys.stdout.flush()
        environment = {**os.environ, "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)

"""Huge pages for commands that allocate and free much memory. Imports no JAX, so that re-executing comes first."""

import os
import sys


def restart_with_huge_pages() -> None:
    """Re-execute this command once with glibc's huge pages; call it first thing.

    XLA allocates and frees the memory of every training step; with pages of 4 KB that takes a tenth of the step on a
    CPU. glibc reads the setting only at process start. If the user has set GLIBC_TUNABLES, nothing is done.
    """
    if sys.platform == "linux" and "GLIBC_TUNABLES" not in os.environ:
        sys.stdout.flush()
        environment = {**os.environ, "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)

"""Memory returned to the system, and re-executing with huge pages."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from mprnet_jax.runtime import memory


def test_freed_memory_goes_back_to_the_system():
    resident = lambda: int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    blocks = [np.ones(8_000) for _ in range(4_000)]  # 256 MB, in blocks that glibc allocates on its heap
    blocks[:-1] = []  # the last block keeps the heap's end in place
    before = resident()
    memory.return_freed()
    assert before - resident() > 200e6


def test_programs_that_are_held_outlive_the_traces():
    traced = []

    @jax.jit
    def double(x):
        traced.append(x)
        return 2 * x

    held = double.lower(1.0).compile()
    double(1.0)
    assert len(traced) == 1
    memory.forget_traces()
    assert held(3.0) == 6
    assert len(traced) == 1
    assert double(3.0) == 6
    assert len(traced) == 2


@pytest.mark.parametrize("users_own", [None, "glibc.malloc.check=0"])
def test_a_command_is_re_executed_once_with_huge_pages_and_the_same_arguments(users_own):
    command = """
import os, sys
print(os.getpid())
from mprnet_jax.runtime.huge_pages import restart_with_huge_pages
restart_with_huge_pages()
print(os.environ["GLIBC_TUNABLES"], *sys.argv[1:])
"""
    environment = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"}
    environment |= {"GLIBC_TUNABLES": users_own} if users_own else {}
    arguments = [sys.executable, "-X", "utf8", "-c", command, "a b", "--c"]
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=True)
    *processes, last = done.stdout.splitlines()
    assert len(processes) == (1 if users_own else 2)
    assert len(set(processes)) == 1  # the same process id, so a waiting parent keeps waiting
    assert last == f"{users_own or 'glibc.malloc.hugetlb=1'} a b --c"

"""Refuses JAX in a process that was forked after JAX had started: its threads stay in the parent, so that the first
computation would wait for ever."""

import os
import sys

from mprnet_jax.support.errors import UserError

_forked_after_start = False


def check_not_forked() -> None:
    """To be called before devices are used. Raises UserError in a process that cannot use them."""
    if _forked_after_start:
        raise UserError(
            "this process was forked (multiprocessing, a data loader, a preloading server) after JAX had started, and "
            "would wait for ever; start processes by spawn: multiprocessing.get_context('spawn'), or use JAX in the "
            "children alone"
        )


def _note_fork() -> None:
    global _forked_after_start
    # JAX has no public question for whether it has devices already that would not itself start them.
    bridge = sys.modules.get("jax._src.xla_bridge")
    _forked_after_start = bridge is not None and bridge.backends_are_initialized()


os.register_at_fork(after_in_child=_note_fork)

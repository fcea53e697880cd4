"""Detects a process that was forked after JAX had started: JAX's threads exist only in the parent, so the first
computation would hang."""

import os
import sys

from mprnet_jax.support.errors import UserError

_forked_after_start = False


def check_not_forked() -> None:
    """Call before using devices. Raises UserError in a process that was forked after JAX had started."""
    if _forked_after_start:
        raise UserError(
            "this process was forked (multiprocessing, a data loader, a preloading server) after JAX had started, and "
            "would hang; start processes by spawn: multiprocessing.get_context('spawn'), or use JAX in the "
            "children alone"
        )


def _note_fork() -> None:
    global _forked_after_start
    # JAX has no public function that tells whether devices are started without starting them.
    bridge = sys.modules.get("jax._src.xla_bridge")
    _forked_after_start = bridge is not None and bridge.backends_are_initialized()


os.register_at_fork(after_in_child=_note_fork)

"""What goes wrong, a line each: visitors can make calls fail at will, and tracebacks of those would fill the log."""

import sys
from pathlib import Path

from mprnet_jax.support.errors import one_line

LONGEST = 300  # characters


def failure(what: str, error: BaseException) -> None:
    """Print what failed, why, and where in the code."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    where = "" if frame is None else f" ({Path(frame.tb_frame.f_code.co_filename).name}:{frame.tb_lineno})"
    line = one_line(f"{what}: {type(error).__name__}: {error}")[:LONGEST]
    print(f"mprnet_jax.demo: {line}{where}", file=sys.stderr, flush=True)


class InsteadOfTraceback:
    """Stands in for the module `traceback` where only print_exc is used."""

    @staticmethod
    def print_exc() -> None:
        """Print the exception at hand in a line."""
        if (error := sys.exception()) is not None:
            failure("a call failed", error)

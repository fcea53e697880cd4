"""What Orbax says when a write fails, turned into the system's words and kept off the screen."""

import functools
import logging
import os
import re
import sys
from typing import Any


def system_error(error: Exception) -> str | None:
    """Why a file could not be written, in the system's words; None if that is not what the error is about.

    Orbax writes through TensorStore, which makes a ValueError of what the system answers.
    """
    if isinstance(error, OSError):
        return error.strerror or str(error)
    match = re.search(r"os_error_code='(\d+)'", str(error))
    return os.strerror(int(match[1])) if match else None


@functools.cache
def quiet_orbax() -> None:
    """From now on, keep what Orbax says about a write that fails off the screen: hundreds of lines of tracebacks from
    its threads, some after the error itself was raised to whoever saves. Also its remarks on checkpoints without score.
    """
    logging.getLogger("absl").addFilter(lambda record: "/orbax/" not in record.pathname)
    # asyncio's, for writes that failed beside the first one, whose error is the one that is raised.
    logging.getLogger("asyncio").addFilter(lambda record: "exception was never retrieved" not in record.getMessage())
    hook = sys.unraisablehook

    def leave_out(unraisable: Any) -> None:
        # TensorStore's, for every write that was under way when another one failed.
        if str(unraisable.exc_value) != "Event loop is closed":
            hook(unraisable)

    sys.unraisablehook = leave_out

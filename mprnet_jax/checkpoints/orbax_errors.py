"""What Orbax says when a write fails, turned into the system's words and kept off the screen."""

import contextlib
import functools
import gc
import logging
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

LATE_SECONDS = 0.2  # in which the threads of a write that failed say their last words


def system_error(error: Exception) -> str | None:
    """Why a file could not be written, in the system's words; None if that is not what the error is about.

    Orbax writes through TensorStore, which makes a ValueError of what the system answers.
    """
    if isinstance(error, OSError):
        return error.strerror or str(error)
    match = re.search(r"os_error_code='(\d+)'", str(error))
    return os.strerror(int(match[1])) if match else None


@contextlib.contextmanager
def quiet_orbax() -> Iterator[None]:
    """Inside the block, keep what Orbax says about a write that fails off the screen: hundreds of lines of tracebacks
    from its threads, some after the error itself was raised to whoever saves. Also its remarks on checkpoints without
    score. After the block the process is as it was.
    """
    undo = _filter_messages()
    try:
        yield
    except BaseException:
        gc.collect()
        time.sleep(LATE_SECONDS)
        raise
    finally:
        undo()


@functools.cache
def stay_quiet() -> None:
    """The same until the process ends. For commands, whose process is their own: some tracebacks come at its end."""
    _filter_messages()


def _filter_messages() -> Callable[[], None]:
    """Returns what takes the filters off again."""
    filters = (
        (logging.getLogger("absl"), lambda record: "/orbax/" not in record.pathname),
        # asyncio's, for writes that failed beside the first one, whose error is the one that is raised.
        (logging.getLogger("asyncio"), lambda record: "exception was never retrieved" not in record.getMessage()),
    )
    hook = sys.unraisablehook

    def leave_out(unraisable: Any) -> None:
        # TensorStore's, for every write that was under way when another one failed.
        if str(unraisable.exc_value) != "Event loop is closed":
            hook(unraisable)

    def undo() -> None:
        for logger, keep in filters:
            logger.removeFilter(keep)
        if sys.unraisablehook is leave_out:  # else somebody has set another one meanwhile
            sys.unraisablehook = hook

    for logger, keep in filters:
        logger.addFilter(keep)
    sys.unraisablehook = leave_out
    return undo

"""What a user can mend: one line that names the thing, the reason and the remedy.

Commands print a UserError without a traceback and exit with code 2; any other exception is a fault of ours.
"""

import contextlib
import sys
from collections.abc import Iterator

from mprnet_jax.support.streams import guard_streams, lost_output

EXIT_USER_ERROR = 2


class UserError(Exception):
    """Bad input: a path, a file, an option. The text is what the user reads.

    No ValueError: tyro would catch it from a config's checks, and wrap its line into a box.
    """


def one_line(text: str) -> str:
    """The text with what would break a line or play with a terminal written out: file names may hold anything."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


@contextlib.contextmanager
def exit_on_user_error(command: str) -> Iterator[None]:
    """Print a UserError as `command: error: text` on stderr and exit with code 2; Ctrl-C exits with 130.

    Inside, printing never raises; where stdout is lost otherwise than by its reader, that is an error like others.
    """
    guard_streams()
    try:
        yield
        if reason := lost_output():
            raise UserError(f"stdout cannot be written ({reason}); what else was asked for is done")
    except UserError as error:
        text = "\n".join(map(one_line, str(error).splitlines()))
        print(f"{command}: error: {text}", file=sys.stderr)
        sys.exit(EXIT_USER_ERROR)
    except KeyboardInterrupt:
        print(f"{command}: stopped by Ctrl-C", file=sys.stderr)
        sys.exit(130)

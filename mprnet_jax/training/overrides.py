"""Fields of a recipe given on the command line, through tyro; what is wrong with one is told in one line."""

import contextlib
import io
import re
from collections.abc import Sequence

import tyro

from mprnet_jax.support.errors import UserError
from mprnet_jax.training.config import TrainConfig


def apply_overrides(config: TrainConfig, arguments: Sequence[str], prog: str, description: str) -> TrainConfig:
    """The config with the fields that the arguments name (--batch-size 8 --model.n-feat 32); --help lists them.

    Raises UserError for a field that there is not, or a value of the wrong type.
    """
    boxed = io.StringIO()
    try:
        with contextlib.redirect_stderr(boxed):
            return tyro.cli(
                tyro.conf.AvoidSubcommands[TrainConfig],  # --degradation.sigma is of the kind that the file chose
                default=config,
                args=arguments,
                prog=prog,
                description=description,
            )
    except SystemExit as stop:
        if not stop.code:
            raise  # --help
        raise UserError(f"{unboxed(boxed.getvalue())}; --config FILE --help lists the fields") from None


def unboxed(text: str) -> str:
    """What tyro says in a box of several parts, as one line: the first part, and the names that it suggests."""
    # The first line is a title. The box is drawn in lines, or, where stdout does not take UTF-8, with hyphens alone.
    lines = [line.strip("│ ") for line in text.splitlines()[1:] if not line.startswith("╰")]
    parts = [part.strip() for part in re.split(r"^[─-]{3,}$", "\n".join(lines), flags=re.MULTILINE) if part.strip()]
    message = " ".join((parts or [text])[0].split()).rstrip(".")
    suggested = [
        option
        for part in parts[1:]
        if part.startswith("Perhaps you meant")
        for option in re.findall(r"^(--[\w.-]+)", part, flags=re.MULTILINE)
    ]
    return f"{message} (did you mean {' or '.join(suggested[:2])}?)" if suggested else message

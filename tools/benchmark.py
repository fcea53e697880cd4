"""Measure what takes time: `python tools/benchmark.py WHAT`. Figures for people; nothing here passes or fails."""

import argparse
import importlib
import sys
from collections.abc import Sequence

from mprnet_jax.runtime.huge_pages import restart_with_huge_pages
from mprnet_jax.support.command_line import Parser
from mprnet_jax.support.errors import exit_on_user_error

# Subcommand -> module of benchmarks with add_arguments and main.
SUBJECTS = {
    "restore": "restore",
    "train": "train",
    "start": "start",
    "files": "files",
    "memory": "memory",
    "evaluate": "scores",
    "degradations": "degradations",
}


def main(argv: Sequence[str] | None = None) -> None:
    parser = Parser(description=__doc__)
    subparsers = parser.add_subparsers(metavar="WHAT", required=True)
    for name, module_name in SUBJECTS.items():
        module = importlib.import_module(f"benchmarks.{module_name}")
        line = module.main.__doc__.splitlines()[0]
        form = argparse.RawDescriptionHelpFormatter
        subparser = subparsers.add_parser(name, help=line, description=module.main.__doc__, formatter_class=form)
        module.add_arguments(subparser)
        subparser.set_defaults(command=module.main)
    args = parser.parse_args(argv)
    with exit_on_user_error("benchmark.py"):
        args.command(args)


if __name__ == "__main__":
    if sys.argv[1:2] == ["train"]:  # as mprnet_jax.train does; PyTorch gets them, too
        restart_with_huge_pages()
    main()

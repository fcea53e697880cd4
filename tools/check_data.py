"""Say what a folder of training pictures holds, what is wrong with it, and what would be trained on.

python tools/check_data.py DIR
DIR is what training takes for --data: pairs in input/ and target/ (or lq/ and gt/, scene folders, a set as its authors
lay it out ...), clean pictures, or a dataset that mprnet_jax.data.build has written. Every file is decoded. The exit
code is 2 if anything is wrong or nothing can be trained on.
"""

import argparse
import sys
from collections.abc import Sequence

from mprnet_jax.data.prepare.check import can_be_trained_on, check_folder, report
from mprnet_jax.support.command_line import Parser, path_option
from mprnet_jax.support.errors import EXIT_USER_ERROR, exit_on_user_error, one_line


def count(text: str) -> int:
    """A whole number from 1 on. Raises ValueError, which argparse reports."""
    if int(text) < 1:
        raise ValueError
    return int(text)


def main(argv: Sequence[str] | None = None) -> None:
    parser = Parser(prog="check_data", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=path_option, metavar="DIR")
    parser.add_argument("--patch-size", type=count, default=256, help="side of the crops in pixels (default: 256)")
    parser.add_argument("--batch-size", type=count, default=16, help="crops a step (default: 16)")
    parser.add_argument("--crops", type=count, default=1, help="crops of each picture an epoch (default: 1)")
    args = parser.parse_args(argv)
    with exit_on_user_error("check_data"):
        findings = check_folder(args.folder)
        for line in report(findings, args.patch_size, args.batch_size, args.crops):
            print(one_line(line))
        if not can_be_trained_on(findings, args.batch_size, args.crops):
            sys.exit(EXIT_USER_ERROR)


if __name__ == "__main__":
    main()

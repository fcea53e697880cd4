"""Say what a folder of training pictures holds, what is wrong with it, and what would be trained on.

python tools/check_data.py DIR
DIR holds input/ and target/, or clean pictures, or a dataset that mprnet_jax.data.build has written. Every file is
decoded. The exit code is 2 if anything is wrong.
"""

import argparse
import sys
from collections.abc import Sequence

from mprnet_jax.data.prepare.check import check_folder, report
from mprnet_jax.support.command_line import path_option
from mprnet_jax.support.errors import EXIT_USER_ERROR, exit_on_user_error


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=path_option, metavar="DIR")
    parser.add_argument("--patch-size", type=int, default=256, help="side of the crops in pixels (default: 256)")
    parser.add_argument("--batch-size", type=int, default=16, help="crops a step (default: 16)")
    parser.add_argument("--crops", type=int, default=1, help="crops of each picture an epoch (default: 1)")
    args = parser.parse_args(argv)
    with exit_on_user_error("check_data"):
        findings = check_folder(args.folder)
        print("\n".join(report(findings, args.patch_size, args.batch_size, args.crops)))
        if findings.wrong:
            sys.exit(EXIT_USER_ERROR)


if __name__ == "__main__":
    main()

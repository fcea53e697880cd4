"""Cut the training patches of SIDD: 300 random squares of 256 pixels from each of the 320 photo pairs.

python tools/prepare_sidd.py SIDD_Medium_Srgb --output datasets/SIDD/train
About 17 GB. The same seed gives the same patches; if it is stopped, the same command goes on, and what is there stays.
Then train with --validation-share: the names keep the scene, before the first underscore.
"""

import argparse
from collections.abc import Sequence

from mprnet_jax.data.prepare.sidd_patches import Cutting, cut_patches
from mprnet_jax.support.command_line import Parser, path_option
from mprnet_jax.support.errors import exit_on_user_error


def main(argv: Sequence[str] | None = None) -> None:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "folder", type=path_option, metavar="SIDD_MEDIUM", help="with *_GT_SRGB_*.PNG and *_NOISY_SRGB_*.PNG"
    )
    parser.add_argument("--output", type=path_option, required=True, help="gets input/ and target/")
    parser.add_argument("--patches", type=int, default=Cutting.patches, help="of each photo (default: %(default)s)")
    parser.add_argument("--size", type=int, default=Cutting.size, help="pixels (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=Cutting.seed, help="default: %(default)s")
    args = parser.parse_args(argv)
    with exit_on_user_error("prepare_sidd"):
        written, total = cut_patches(args.folder, args.output, Cutting(args.patches, args.size, args.seed))
        print(f"{args.output}: {written} patches written, {total} in all")


if __name__ == "__main__":
    main()

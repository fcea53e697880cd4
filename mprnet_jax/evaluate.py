"""Score restored images by the protocols of the paper: `python -m mprnet_jax.evaluate --help`."""

import argparse
import dataclasses
import sys
from collections.abc import Sequence

from mprnet_jax.checkpoints.pretrained import TASKS
from mprnet_jax.evaluation.protocols import PROTOCOLS
from mprnet_jax.restoring import add_restore_options, restore_options
from mprnet_jax.restoring.options import STAGES
from mprnet_jax.runtime.compile_cache import use_compile_cache
from mprnet_jax.runtime.devices import cores, find_devices
from mprnet_jax.support.command_line import Parser, add_cache_option, path_option
from mprnet_jax.support.errors import EXIT_USER_ERROR, exit_on_user_error

COMMAND = "mprnet_jax.evaluate"
EPILOG = """\
examples
  the shipped denoiser on your own photos (mine/input/*.png, mine/target/*.png):
    python -m mprnet_jax.evaluate --protocol custom --data mine --task denoising --output out
  GoPro with converted official weights; a first look at 50 of the 1,111 pairs:
    python -m mprnet_jax.evaluate --protocol gopro --data GoPro --checkpoint deblurring --limit 50 --output out
  images that another program restored (restored/0001.png belongs to target/0001.png):
    python -m mprnet_jax.evaluate --protocol rain100h --data Rain100H --restored restored --output out
  every set below a folder, the paper's table with a column for each of two checkpoints:
    python -m mprnet_jax.evaluate --protocol all --data datasets --checkpoint a b --output out
  what the early exits and bfloat16 cost in quality:
    python -m mprnet_jax.evaluate --protocol custom --data mine --task denoising --stages --dtypes --output out
  is run B better than run A?
    python -m mprnet_jax.evaluate --compare out_a out_b --output out_ab

Pairs are matched by name up to the ending, never by position. --output gets report.html, results.json and scores.csv
(with several sets or runs: in a folder for each), and takes no other evaluation's results. DND is scored by its server:
--output gets the .mat files to upload.
Exit code: 0 all was scored, 2 something was refused (one line for each on stderr; the rest is scored all the same).
DND needs h5py, RealBlur needs OpenCV: pip install 'mprnet_jax[evaluate]'
"""


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command's options."""
    parser = Parser(
        prog=f"python -m {COMMAND}",
        description="Score restored images by the protocols of the MPRNet paper, and look at them.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--protocol", choices=[*PROTOCOLS, "all"], metavar="NAME", help=", ".join([*PROTOCOLS, "all"]))
    parser.add_argument(
        "--data", type=path_option, metavar="DIR", help="the set's folder; with all, a folder with many sets"
    )
    parser.add_argument("--output", type=path_option, metavar="DIR", required=True, help="where the results go")
    parser.add_argument(
        "--checkpoint", nargs="+", type=path_option, default=[], metavar="DIR", help="score these weights (bundles)"
    )
    parser.add_argument(
        "--task",
        nargs="+",
        default=[],
        choices=[*TASKS, "auto"],
        metavar="NAME",
        help=f"score shipped weights: {', '.join(TASKS)}; auto: those of the set's own task",
    )
    parser.add_argument(
        "--restored", nargs="+", type=path_option, default=[], metavar="DIR", help="score images restored before"
    )
    parser.add_argument("--stages", action="store_true", help="score all three exits, with their share of the compute")
    parser.add_argument("--dtypes", action="store_true", help="score float32 and bfloat16")
    add_restore_options(parser.add_argument_group("how weights are used"))
    parser.add_argument("--limit", type=int, metavar="N", help="only N pairs, evenly spaced by name")
    parser.add_argument("--workers", type=int, default=cores(), help="threads for the scores [%(default)s]")
    parser.add_argument("--save-restored", action="store_true", help="also write the restored images, as PNG")
    parser.add_argument("--skip-input", action="store_true", help="do not score the input (RealBlur: half the time)")
    parser.add_argument(
        "--compare", nargs=2, type=path_option, metavar=("RUN_A", "RUN_B"), help="two outputs, side by side"
    )
    add_cache_option(parser)
    args = parser.parse_args(argv)
    args.options = restore_options(parser, args)
    args.checkpoint = [str(path) for path in args.checkpoint]
    if args.compare:
        return args
    if not args.protocol or not args.data:
        parser.error("give --protocol and --data, or --compare; see the examples of --help")
    if not (args.checkpoint or args.task or args.restored):
        parser.error("nothing to score: give --checkpoint, --task or --restored")
    if args.stages and args.options.stages != STAGES[-1]:
        parser.error("--stages scores every stage, --stage one of them; give one of the two")
    if (args.stages or args.dtypes) and not (args.checkpoint or args.task):
        parser.error("--stages and --dtypes need weights: give --checkpoint or --task")
    if args.workers < 1 or (args.limit is not None and args.limit < 1):
        parser.error("--workers and --limit must be at least 1")
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the options, evaluate or compare, and print the table."""
    args = parse_args(argv)
    with exit_on_user_error(COMMAND):
        if args.compare:
            from mprnet_jax.evaluation.comparison_page import compare  # here, because SciPy's statistics take a second

            print(compare(*args.compare, args.output))
            return
        from mprnet_jax.evaluation.run import Request, evaluate, summary  # here, because --help needs no network

        if not args.no_compile_cache:
            use_compile_cache()
        names = {field.name for field in dataclasses.fields(Request)}
        given = {name: value for name, value in vars(args).items() if name in names}
        devices = find_devices(args.options.devices, pictures=1)  # pairs are restored one after another
        request = Request(**given | {"options": args.options.replace(devices=devices)})
        results, refused = evaluate(request)
        print(summary(request, results, refused))
        if refused:
            sys.exit(EXIT_USER_ERROR)


if __name__ == "__main__":
    main()

"""Learn the noise of one camera from photos: `python -m mprnet_jax.adapt --input FOLDER --output mycamera`."""

import argparse
import sys
from collections.abc import Sequence

from mprnet_jax.support.command_line import Parser, add_cache_option, path_option
from mprnet_jax.support.errors import exit_on_user_error, one_line
from mprnet_jax.support.interrupts import ending_at_once, hold

COMMAND = "mprnet_jax.adapt"
REFUSED = 3  # exit code: it ended well, and the shipped weights are better
EPILOG = f"""examples:
  learn from a folder of noisy photos of one camera, best all taken at about the same ISO setting:
    python -m {COMMAND} --input night/ --output mycamera --minutes 10
  restore with what it learnt:
    python -m mprnet_jax.infer --checkpoint mycamera/bundle --input night/ --output restored

What it does: it measures the noise in smooth parts of the photos (sky, walls, blurred background): how strong it is at
each brightness, how coarse, how alike in the colours. It then adds such noise to clean pictures, and trains on them,
from the weights that ship. Some photos are kept aside; on them the new weights must be better than the shipped ones by
an estimate that needs no clean photos. If they are not, no bundle is written, and the report says why.

Give five photos or more that show some smooth parts, as the camera saved them: not edited, not made smaller. The output
folder gets bundle/, report.html and noise.json. Photos are only read. After a stop (Ctrl-C, a crash) the same command
goes on.
exit code: 0 the new weights are in bundle/, or Ctrl-C stopped the run and it was saved; 2 for what you can mend;
3 the check refused the new weights; 130 stopped before anything was trained"""


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command's options."""
    parser = Parser(
        prog=f"python -m {COMMAND}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Fine-tune the denoiser to one camera from its noisy photos alone. No clean photos are needed.",
        epilog=EPILOG,
    )
    parser.add_argument(
        "--input", metavar="PATH", nargs="+", type=path_option, required=True, help="noisy photos, and folders of them"
    )
    parser.add_argument("--recursive", action="store_true", help="also the folders below the input folders")
    parser.add_argument(
        "--output", metavar="DIR", type=path_option, required=True, help="folder for the bundle and the report"
    )
    parser.add_argument(
        "--minutes", metavar="N", type=float, default=10.0, help="wall time for all of it (default: 10)"
    )
    parser.add_argument(
        "--steps", metavar="N", type=int, help="train for so many steps instead, however long they take"
    )
    parser.add_argument(
        "--start",
        metavar="TASK|DIR",
        default="denoising",
        help="weights to start from, and to compare with (default: denoising, which ships)",
    )
    add_cache_option(parser)
    args = parser.parse_args(argv)
    if not 0 < args.minutes < float("inf"):
        parser.error(f"--minutes must be positive, got {args.minutes:g}")
    if args.steps is not None and args.steps < 1:
        parser.error(f"--steps must be at least 1, got {args.steps}")
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the options and adapt."""
    argv = list(sys.argv[1:] if argv is None else argv)
    args = parse_args(argv)
    with exit_on_user_error(COMMAND):
        # Here: they import JAX, which --help and mistakes in the options need not wait for.
        from mprnet_jax.adapting import run
        from mprnet_jax.adapting.plan import Request
        from mprnet_jax.checkpoints import orbax_errors
        from mprnet_jax.runtime import compile_cache, devices, jax_settings

        orbax_errors.stay_quiet()
        if not args.no_compile_cache:
            compile_cache.use_compile_cache()
        with jax_settings.missing_devices_told():
            devices.make_devices_of_cores(run.devices_that_share(devices.cores()))
        request = Request(
            tuple(args.input),
            args.output,
            None if args.steps else args.minutes,
            args.steps,
            args.start,
            args.recursive,
        )
        say = lambda text: print(one_line(text), flush=True)
        with jax_settings.standard_settings():
            result = run.adapt(request, " ".join([f"python -m {COMMAND}", *argv]), say)
        if result is None:
            return
        verdict = result.verdict
        say(f"report: {result.report}")
        for reason in verdict.reasons:
            say(f"the shipped weights stay: {reason}")
        if result.bundle is None:
            sys.exit(REFUSED)
        say(
            f"estimated gain {verdict.gain:+.2f} dB, noise left in smooth parts {verdict.noise_before:.2f} -> "
            f"{verdict.noise_after:.2f}; restore with --checkpoint {result.bundle}"
        )


if __name__ == "__main__":
    hold()  # Ctrl-C while Python starts a second time
    from mprnet_jax.runtime.huge_pages import restart_with_huge_pages

    restart_with_huge_pages()
    with ending_at_once(COMMAND):
        main()

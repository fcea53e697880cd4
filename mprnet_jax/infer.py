"""Restore pictures: `python -m mprnet_jax.infer --task denoising --input PHOTO_OR_FOLDER --output DIR`."""

import argparse
import math
import sys
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from mprnet_jax import images
from mprnet_jax.batch import before_after_page
from mprnet_jax.batch.before_after_page import REPORT
from mprnet_jax.batch.jobs import Batch, Naming, Share, find_share
from mprnet_jax.checkpoints.pretrained import SAMPLES, TASKS, bundle_path, list_models
from mprnet_jax.restoring.options import QUALITY, add_restore_options, restore_options
from mprnet_jax.support.command_line import Parser, add_cache_option, path_option
from mprnet_jax.support.errors import EXIT_USER_ERROR, UserError, exit_on_user_error, one_line
from mprnet_jax.support.garbage import uncollected
from mprnet_jax.support.progress import say
from mprnet_jax.support.words import counted

if TYPE_CHECKING:
    from mprnet_jax.batch.run import Summary

COMMAND = "mprnet_jax.infer"
LONG_SECONDS = 60  # after so much work it is worth telling what would be faster
OPENVINO_NOTE = (
    "faster next time: with OpenVINO (pip install 'mprnet_jax[openvino]') a CPU needs 0.6 to 0.85 of the time, "
    "and half of it if it computes bfloat16 itself"
)
SCROLLED_AWAY = 10  # files; from so many on, failures are listed once more at the end
BUSIEST = "busiest"  # where --preview looks if it is not told
SHARE_HELP = """do only the I-th of N parts, so that N processes or machines share a folder: --share 2/5; auto: what the
batch system says (SLURM, Open MPI, Kubernetes, TPU pods)"""
EPILOG = """examples:
  restore the pictures that ship with the package:
    python -m mprnet_jax.infer --task denoising --samples --output restored
  restore a photo and a folder of photos, with its folders:
    python -m mprnet_jax.infer --task denoising --input party.jpg holidays/ --recursive --output restored
  use converted official weights (tools/convert_torch_ckpt.py):
    python -m mprnet_jax.infer --checkpoint deblurring/ --input shaken.jpg --output restored

  how long it would take, and how much memory:
    python -m mprnet_jax.infer --task denoising --input holidays/ --recursive --output restored --plan
  see first what it does to the busiest part, at two strengths:
    python -m mprnet_jax.infer --task denoising --input party.jpg --output seen --preview --preview-strengths .5 1
  a video:
    python -m mprnet_jax.infer --task denoising --input party.mp4 --output restored

Results keep the input's name, format, bit depth, transparency, colour profile and EXIF; videos their codec, time
stamps, rotation, sound and subtitles. Every file appears whole or not at all; after a stop the same command goes on.
exit code: 0 all was restored; 2 something could not be (one line for each; the others are done all the same), or the
options are wrong; 130 stopped by Ctrl-C"""


def share_option(text: str) -> Share | str:
    """What --share was given; argparse names the option if it cannot be."""
    if text == "auto":
        return text
    try:
        return Share.parse(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be I/N with I from 1 to N, or auto; got {text!r}") from None


def _point(text: str) -> tuple[int, int] | str:
    """What --preview was given: "1200,800", or the word."""
    if text == BUSIEST:  # argparse reads the value of an option without one, too
        return text
    x, comma, y = text.partition(",")
    if not (comma and x.strip().isdecimal() and y.strip().isdecimal()):
        raise argparse.ArgumentTypeError(f"must be X,Y in pixels from the upper left corner; got {text!r}")
    return int(x), int(y)


class ListModels(argparse.Action):
    """Print the models that ship, and end: as --help does, whatever else is missing."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        with exit_on_user_error(COMMAND):
            print(list_models())
        parser.exit()


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command's options."""
    parser = Parser(
        prog=f"python -m {COMMAND}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Restore pictures with MPRNet. Inputs are never changed.",
        epilog=EPILOG,
    )
    what = parser.add_argument_group("what to restore, and with which weights")
    what.add_argument("--task", choices=TASKS, help="use the weights that ship with the package for this task")
    what.add_argument("--checkpoint", metavar="DIR", type=path_option, help="use the weights of this bundle instead")
    what.add_argument("--list-models", action=ListModels, nargs=0, help="list the weights that ship, and end")
    what.add_argument("--input", metavar="PATH", nargs="+", default=[], help="pictures, videos, and folders of them")
    what.add_argument("--recursive", action="store_true", help="also the folders below the input folders")
    what.add_argument("--samples", action="store_true", help="restore the sample pictures of the package")
    to = parser.add_argument_group("where the results go")
    to.add_argument("--output", metavar="DIR", type=path_option, required=True, help="folder for the results")
    to.add_argument("--suffix", default="", help="put this behind each name: --suffix _clean makes party_clean.jpg")
    to.add_argument(
        "--format", choices=("png", "jpg", "tif", "webp"), help="format of all pictures (default: the input's)"
    )
    to.add_argument("--quality", type=int, metavar="N", help=f"of JPEGs, 1 to 100 (default: {QUALITY})")
    to.add_argument("--overwrite", action="store_true", help="restore again what is in the output folder already")
    to.add_argument("--report", action="store_true", help=f"also write {REPORT}: before and after with a slider")
    to.add_argument(
        "--preview",
        metavar="X,Y",
        nargs="?",
        const=BUSIEST,
        type=_point,
        help="only restore 512 x 512 pixels of each picture, around this point or where it is busiest, and write them "
        "beside those before as NAME_preview.png",
    )
    to.add_argument(
        "--preview-strengths",
        metavar="S",
        nargs="+",
        type=float,
        default=[],
        help="with --preview: show these strengths side by side (default: that of --strength)",
    )
    to.add_argument("--plan", action="store_true", help="only print tiles, memory and time; nothing is written")
    how = parser.add_argument_group("how")
    add_restore_options(how)
    how.set_defaults(restore_dtype="auto")
    how.add_argument("--share", metavar="I/N", type=share_option, help=SHARE_HELP)
    add_cache_option(how)
    args = parser.parse_args(argv)
    if args.task is None and args.checkpoint is None:
        parser.error(f"name a task (--task {{{','.join(TASKS)}}}) or a bundle (--checkpoint DIR)")
    if not args.input and not args.samples:
        parser.error("name pictures or folders (--input PATH ...), or try the ones that ship (--samples)")
    if args.quality is not None and not 1 <= args.quality <= 100:
        parser.error(f"--quality must be in 1..100, got {args.quality}")
    if "/" in args.suffix:
        parser.error(f"--suffix is part of a name and holds no '/', got {args.suffix!r}")
    if args.preview_strengths and args.preview is None:
        parser.error("--preview-strengths goes with --preview; give that, too")
    if not all(0 <= strength <= 1 for strength in args.preview_strengths):
        parser.error(f"--preview-strengths must be in 0..1, got {' '.join(map(str, args.preview_strengths))}")
    args.options = restore_options(parser, args)
    return args


def restore(args: argparse.Namespace) -> "Summary":
    """What the command does, and with --plan what it would do. Raises UserError."""
    share = find_share(args.share)
    inputs = [*args.input, *([SAMPLES / (args.task or "denoising") / "input"] if args.samples else [])]
    naming = Naming(args.output, args.suffix, f".{args.format}" if args.format else None, args.recursive)
    batch = Batch.find(inputs, naming, overwrite=args.overwrite, share=share)
    opened: dict[Path, Future[images.Picture]] = {}
    shown = [*batch.jobs, *batch.existing] if args.preview is not None and not args.plan else []
    if shown and not shown[0].is_video:
        # Beside what follows, and in another process, since Pillow lets no other thread work: a JPEG of 24 megapixels
        # takes half a second, a sixth of a preview.
        source = shown[0].source
        opened[source] = ThreadPoolExecutor(1).submit(images.open_picture, source, apart=True)
    with uncollected():
        # Here: they import JAX, which --help and mistakes in the options need not wait for.
        from mprnet_jax.batch import plan, previews, settings_record
        from mprnet_jax.batch.run import Summary, make_folder, restore_batch, sizes
        from mprnet_jax.restoring import Restorer
        from mprnet_jax.restoring.engines.engine import worth_openvino
        from mprnet_jax.runtime.compile_cache import use_compile_cache
        from mprnet_jax.runtime.devices import find_devices

        if not args.no_compile_cache:
            use_compile_cache()
        weights = args.checkpoint or args.task
        whole = args.preview is not None or args.options.tile == "whole"
        in_tiles = len(batch.jobs) == 1 and not whole and args.options.halo is None
        pixels = sum(math.prod(size) for size in sizes(batch.jobs).values()) if in_tiles else 0
        pictures = 1 if args.preview is not None else len(batch.jobs)  # previews are made one by one, with all cores
        devices = find_devices(args.options.devices, pictures=pictures, tiled_pixels=pixels)
        options = args.options.replace(devices=devices)
        restorer = Restorer.from_pretrained(weights, options)
    if not args.plan:
        make_folder(args.output)
    if note := batch.left_out_note():
        say(f"{COMMAND}: note: {one_line(note)}")
    jpegs = any(images.FORMATS.get(job.result.suffix.lower()) == "JPEG" for job in batch.jobs)
    if args.quality is not None and batch.jobs and not jpegs:
        say(f"{COMMAND}: note: --quality is of JPEGs, and no result is one")
    summary = Summary(COMMAND)
    if args.plan:
        return plan.show(restorer, batch, summary)
    if args.preview is not None:
        at = None if args.preview == BUSIEST else args.preview
        return previews.write(restorer, batch, summary, at, args.preview_strengths, opened)
    settings = settings_record.settings_of(restorer, bundle_path(weights))
    if note := settings_record.note_of_others(args.output, settings, len(batch.existing)):
        say(f"{COMMAND}: note: {note}")
    try:
        if batch.jobs:
            settings_record.record(args.output, settings, replace=not batch.existing)
    except UserError as error:
        summary.fail(error)
    maps = args.output if args.report else None
    begin = time.monotonic()
    restore_batch(restorer, batch, args.quality or QUALITY, summary, maps)
    if options.engine == "openvino" and restorer.engine_name == "xla":
        summary.notes.append("computed by XLA: OpenVINO knows neither --tlc nor --halo")
    elif time.monotonic() - begin > LONG_SECONDS and worth_openvino(restorer.engine_name, options.tlc):
        summary.notes.append(OPENVINO_NOTE)
    if args.report:
        everything = Batch.find(inputs, naming).existing  # of all shares, and of the runs before
        try:
            page = before_after_page.write(args.output, everything, restorer.computed_by)
            summary.notes.append(f"before and after: {one_line(str(page))}")
        except UserError as error:
            summary.fail(error)
    return summary


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the options and restore."""
    args = parse_args(argv)
    with exit_on_user_error(COMMAND):
        summary = restore(args)
        if not args.plan:
            what = f"{summary}; results are" if args.preview is None else counted(summary.restored, "preview")
            print(f"{what} in {one_line(str(args.output))}")
        if summary.restored + summary.skipped >= SCROLLED_AWAY:
            for line in summary.failed:
                print(f"failed: {line}")
        for line in summary.notes:
            print(line)
        if summary.failed:
            sys.exit(EXIT_USER_ERROR)


if __name__ == "__main__":
    main()

"""Restore pictures: `python -m mprnet_jax.infer --task denoising --input PHOTO_OR_FOLDER --output DIR`."""

import argparse
import errno
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import jax

from mprnet_jax import images
from mprnet_jax.batch import before_after_page, plan, settings_record
from mprnet_jax.batch.before_after_page import REPORT
from mprnet_jax.batch.run import QUALITY, Batch, Naming, Share, Summary, restore_batch
from mprnet_jax.checkpoints.pretrained import SAMPLES, TASKS, bundle_path, list_models
from mprnet_jax.restoring.restorer import Restorer
from mprnet_jax.runtime.compile_cache import use_compile_cache
from mprnet_jax.runtime.devices import cores, make_devices_of_cores
from mprnet_jax.support.command_line import TILE_HELP, Parser, tile_option
from mprnet_jax.support.errors import EXIT_USER_ERROR, UserError, exit_on_user_error, one_line
from mprnet_jax.support.progress import say

COMMAND = "mprnet_jax.infer"
SCROLLED_AWAY = 10  # files; after so many, what failed is told once more at the end
PICTURES_A_CORE = 4  # from so many on, compiling for each core pays


def make_folder(path: Path) -> None:
    """Make the folder for the results before anything is restored. Raises UserError."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        if not os.access(path, os.W_OK):
            raise PermissionError(errno.EACCES, "not writable")
    except OSError as error:
        reason = "is a file" if path.is_file() else f"cannot be made ({error.strerror})"
        raise UserError(f"--output {path}: {reason}; name a folder to write to") from error


STAGE_HELP = "stop after this stage: a little worse, much faster (default: %(default)s)"
TLC_HELP = """means over windows of 1.5 x the training patch in the channel attention, as in training, instead of over
the whole picture: better on pictures much larger than the patches"""


SHARE_HELP = """do only the I-th of N parts, so that N processes or machines share a folder: --share 2/5; auto: what the
batch system says (SLURM, Open MPI, Kubernetes, TPU pods)"""


HALO_HELP = """with --tlc: tiles see so many pixels around what they restore, and are cut and averaged as the whole
picture is. full: all that the network sees, the result is that of the whole picture to float rounding, and takes much
memory; 128 came within 1e-4 on a photo of 512 x 768 with the light denoiser (default: tiles overlap and blend)"""
DEVICES_HELP = """how many GPUs or TPU cores share the work, or parts of a CPU (default: all; of a CPU one, or with many
pictures one for each core)"""
BATCH_HELP = "tiles that a device restores at once; more than 1 may be faster on a GPU or TPU (default: %(default)s)"


def halo_option(text: str) -> int | str:
    """What --halo was given, as Restorer takes it; Restorer says what it may be."""
    return int(text) if text.isdecimal() else text


def devices_option(text: str) -> int | None:
    """A number of devices, or None for all."""
    if text == "all":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a number of devices, or all; got {text!r}")
    return int(text)


def share_option(text: str) -> Share | str:
    """What --share was given; argparse names the option if it cannot be."""
    if text == "auto":
        return text
    try:
        return Share.parse(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be I/N with I from 1 to N, or auto; got {text!r}") from None


class ListModels(argparse.Action):
    """Print the models that ship, and end: as --help does, whatever else is missing."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        print(list_models())
        parser.exit()


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(
        prog=f"python -m {COMMAND}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Restore pictures with MPRNet. Inputs are never changed.",
        epilog="""examples:
  restore the pictures that ship with the package:
    python -m mprnet_jax.infer --task denoising --samples --output restored
  restore a photo and a folder of photos, with its folders:
    python -m mprnet_jax.infer --task denoising --input party.jpg holidays/ --recursive --output restored
  use converted official weights (tools/convert_torch_ckpt.py):
    python -m mprnet_jax.infer --checkpoint deblurring/ --input shaken.jpg --output restored

  how long it would take, and how much memory:
    python -m mprnet_jax.infer --task denoising --input holidays/ --recursive --output restored --plan
  a video:
    python -m mprnet_jax.infer --task denoising --input party.mp4 --output restored

Results keep the input's name, format, bit depth, transparency, colour profile and EXIF; videos their codec, time
stamps, rotation, sound and subtitles. Every file appears whole or not at all; after a stop the same command goes on.
exit code: 0 all was restored; 2 something could not be (one line for each; the others are done all the same), or the
options are wrong; 130 stopped by Ctrl-C""",
    )
    what = parser.add_argument_group("what to restore, and with which weights")
    what.add_argument("--task", choices=TASKS, help="use the weights that ship with the package for this task")
    what.add_argument("--checkpoint", metavar="DIR", help="use the weights of this bundle instead")
    what.add_argument("--list-models", action=ListModels, nargs=0, help="list the weights that ship, and end")
    what.add_argument("--input", metavar="PATH", nargs="+", default=[], help="pictures, videos, and folders of them")
    what.add_argument("--recursive", action="store_true", help="also the folders below the input folders")
    what.add_argument("--samples", action="store_true", help="restore the sample pictures of the package")
    to = parser.add_argument_group("where the results go")
    to.add_argument(
        "--output", metavar="DIR", type=lambda text: text and Path(text), required=True, help="folder for the results"
    )
    to.add_argument("--suffix", default="", help="put this behind each name: --suffix _clean makes party_clean.jpg")
    to.add_argument(
        "--format", choices=("png", "jpg", "tif", "webp"), help="format of all pictures (default: the input's)"
    )
    to.add_argument("--quality", type=int, metavar="N", help=f"of JPEGs, 1 to 100 (default: {QUALITY})")
    to.add_argument("--overwrite", action="store_true", help="restore again what is in the output folder already")
    to.add_argument("--report", action="store_true", help=f"also write {REPORT}: before and after with a slider")
    to.add_argument("--plan", action="store_true", help="only print tiles, memory and time; nothing is written")
    how = parser.add_argument_group("how")
    how.add_argument("--tile", default="auto", metavar="auto|whole|N", type=tile_option, help=TILE_HELP)
    how.add_argument("--overlap", type=int, metavar="N", help="pixels that tiles of --tile N share (default: N / 8)")
    how.add_argument("--stage", type=int, choices=(1, 2, 3), default=3, help=STAGE_HELP)
    how.add_argument("--tlc", action="store_true", help=TLC_HELP)
    how.add_argument("--patch-size", type=int, metavar="N", help="training patch for --tlc, if the bundle names none")
    how.add_argument("--self-ensemble", action="store_true", help="mean over 8 flips and rotations; 8 times slower")
    how.add_argument(
        "--dtype",
        choices=("float32", "bfloat16"),
        default="float32",
        help="what the network computes in; bfloat16 is meant for GPUs and TPUs (default: %(default)s)",
    )
    how.add_argument("--halo", metavar="full|N", type=halo_option, help=HALO_HELP)
    how.add_argument("--devices", metavar="all|N", type=devices_option, help=DEVICES_HELP)
    how.add_argument("--batch", type=int, default=1, metavar="N", help=BATCH_HELP)
    how.add_argument("--share", metavar="I/N", type=share_option, help=SHARE_HELP)
    how.add_argument("--no-compile-cache", action="store_true", help="keep no compiled programs for the next start")
    args = parser.parse_args(argv)
    if args.task is None and args.checkpoint is None:
        parser.error(f"name a task (--task {{{','.join(TASKS)}}}) or a bundle (--checkpoint DIR)")
    if not args.input and not args.samples:
        parser.error("name pictures or folders (--input PATH ...), or try the ones that ship (--samples)")
    if args.quality is not None and not 1 <= args.quality <= 100:
        parser.error(f"--quality must be in 1..100, got {args.quality}")
    if not args.output or "" in args.input or args.checkpoint == "":
        parser.error("an empty name was given for --output, --input or --checkpoint")
    if args.patch_size is not None and not args.tlc:
        parser.error("--patch-size goes with --tlc; give that, too")
    if "/" in args.suffix:
        parser.error(f"--suffix is part of a name and holds no '/', got {args.suffix!r}")
    args.output = Path(args.output)
    return args


def find_share(asked: Share | str | None) -> Share:
    """Which part of the batch this process does: what was asked for, or by its place in jax.distributed."""
    if isinstance(asked, Share):
        return asked
    if asked == "auto":
        from mprnet_jax.runtime import processes  # here, because few need it

        processes.start(None, None, None)
    return Share(jax.process_index(), jax.process_count()) if jax.distributed.is_initialized() else Share()


def find_devices(count: int | None, pictures: int) -> tuple[int, ...]:
    """The local devices to use for a number of pictures. A CPU is one, which all cores share, or one for each core if
    there are many pictures: each is restored on one core then, which takes less of them in all.

    Raises UserError if there are not so many.
    """
    on_cpu = count or (cores() if pictures >= PICTURES_A_CORE * cores() else 1)
    make_devices_of_cores(on_cpu)
    there = jax.local_device_count()
    if count is None:
        return tuple(range(there if jax.default_backend() != "cpu" else min(there, on_cpu)))
    if count > there:
        raise UserError(f"--devices {count}: there {'is' if there == 1 else 'are'} only {there}; give fewer, or all")
    return tuple(range(count))


def restore(args: argparse.Namespace) -> Summary:
    """What the command does, and with --plan what it would do. Raises UserError."""
    if not args.no_compile_cache:
        use_compile_cache()
    share = find_share(args.share)
    inputs = [*args.input, *([SAMPLES / (args.task or "denoising") / "input"] if args.samples else [])]
    naming = Naming(args.output, args.suffix, f".{args.format}" if args.format else None, args.recursive)
    batch = Batch.find(inputs, naming, overwrite=args.overwrite, share=share)
    weights = args.checkpoint or args.task
    restorer = Restorer.from_pretrained(
        weights,
        dtype=args.dtype,
        stages=args.stage,
        tlc=args.tlc,
        patch_size=args.patch_size,
        self_ensemble=args.self_ensemble,
        tile=args.tile,
        overlap=args.overlap,
        halo=args.halo,
        devices=find_devices(args.devices, pictures=len(batch.jobs)),
        batch=args.batch,
    )
    if not args.plan:
        make_folder(args.output)
    jpegs = any(images.FORMATS.get(job.result.suffix.lower()) == "JPEG" for job in batch.jobs)
    if args.quality is not None and batch.jobs and not jpegs:
        say(f"{COMMAND}: note: --quality is of JPEGs, and no result is one")
    if args.plan:
        return plan.show(restorer, batch, Summary(COMMAND))
    note_settings(restorer, bundle_path(weights), args.output, batch)
    summary = restore_batch(restorer, batch, args.quality or QUALITY, Summary(COMMAND))
    if args.report:
        everything = Batch.find(inputs, naming).there  # of all shares, and of the runs before
        summary.notes.append(f"before and after: {one_line(str(before_after_page.write(args.output, everything)))}")
    return summary


def note_settings(restorer: Restorer, bundle: Path, output: Path, batch: Batch) -> None:
    """Say if results that stay were made with other options, and note those of the ones to come."""
    settings = settings_record.settings_of(restorer, bundle)
    other = settings_record.other_settings(output, settings)
    if batch.there and other:
        kept = f"some of the {len(batch.there)} results that are there already may be made with other options"
        say(f"{COMMAND}: note: {kept} ({one_line(other)}); --overwrite restores them again")
    if batch.jobs:
        settings_record.record(output, settings, replace=not batch.there)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    with exit_on_user_error(COMMAND):
        summary = restore(args)
        if not args.plan:
            print(f"{summary}; results are in {one_line(str(args.output))}")
        if summary.restored + summary.skipped >= SCROLLED_AWAY:
            for line in summary.failed:
                print(f"failed: {line}")
        for line in summary.notes:
            print(line)
        if summary.failed:
            sys.exit(EXIT_USER_ERROR)


if __name__ == "__main__":
    main()

"""Restore pictures: `python -m mprnet_jax.infer --task denoising --input PHOTO_OR_FOLDER --output DIR`."""

import argparse
import dataclasses
import errno
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from tqdm import tqdm

from mprnet_jax import images
from mprnet_jax.errors import EXIT_USER_ERROR, UserError, exit_on_user_error
from mprnet_jax.pretrained import TASKS
from mprnet_jax.restore import Restorer

COMMAND = "mprnet_jax.infer"
SAMPLES = Path(__file__).parent / "samples"


@dataclasses.dataclass(frozen=True)
class Naming:
    """Where results go and what they are called: folders below an input folder are mirrored."""

    output: Path
    suffix: str = ""  # put behind the name, before the ending
    ending: str | None = None  # ".png", for example; None: that of the input
    recursive: bool = False  # also the pictures in folders below an input folder

    def jobs(self, entry: str | Path) -> Iterator[tuple[Path, Path]]:
        """(picture, result) for a file or for each picture of a folder. Raises UserError if there is none."""
        root = Path(entry)
        for path in images.find(root, recursive=self.recursive):
            folder = path.relative_to(root).parent if root.is_dir() else Path()
            yield path, self.output / folder / f"{path.stem}{self.suffix}{self.ending or path.suffix}"


@dataclasses.dataclass
class Summary:
    """What became of the pictures of a run."""

    restored: int = 0
    skipped: int = 0  # the result was there already
    failed: list[str] = dataclasses.field(default_factory=list)  # a line for each

    def fail(self, error: UserError) -> None:
        self.failed.append(str(error))
        tqdm.write(f"{COMMAND}: error: {error}", file=sys.stderr)

    def __str__(self) -> str:
        counts = [(self.restored, "restored"), (self.skipped, "there already"), (len(self.failed), "failed")]
        return ", ".join(f"{count} {what}" for count, what in counts if count) or "nothing to do"


def restore_file(restorer: Restorer, path: Path, result: Path, quality: int = 95) -> None:
    """Restore one picture into a file with its depth, alpha, profile and notes. Raises UserError."""
    picture = images.open_picture(path)
    images.check_savable(result, picture)  # before the work, not after it
    images.save_picture(result, restorer(images.to_float(picture.pixels)), picture, quality=quality)


def restore_files(
    restorer: Restorer, inputs: Iterable[str | Path], naming: Naming, overwrite: bool = False, quality: int = 95
) -> Summary:
    """Restore files and folders of pictures.

    What cannot be restored is reported on stderr and left out; an input is never overwritten; a result that is there
    already is kept unless `overwrite`, so that a run that was interrupted goes on. `quality` is that of JPEGs.
    """
    summary = Summary()
    jobs: list[tuple[Path, Path]] = []
    for entry in inputs:
        try:
            jobs += naming.jobs(entry)
        except UserError as error:
            summary.fail(error)
    # One file reached by two spellings is one picture.
    jobs = list({path.resolve(): (path, result) for path, result in reversed(jobs)}.values())[::-1]
    sources = {path.resolve() for path, _ in jobs}
    taken: dict[Path, Path] = {}  # result -> the picture it comes from
    with tqdm(jobs, unit="picture", dynamic_ncols=True) as bar:
        for path, result in bar:
            bar.set_description(path.name)
            try:
                if result.resolve() in sources:
                    raise UserError(f"{path}: the result would overwrite an input; choose another --output or --suffix")
                if taken.setdefault(result, path) != path:
                    raise UserError(
                        f"{path}: its result would overwrite that of {taken[result]}; restore it into another --output"
                    )
                if result.exists() and not overwrite:
                    summary.skipped += 1
                    continue
                restore_file(restorer, path, result, quality)
                summary.restored += 1
            except UserError as error:
                summary.fail(error)
            except OSError as error:  # a name that the file system does not take, a disk that fails
                summary.fail(UserError(f"{path}: {result.name} cannot be used ({error.strerror}); choose another name"))
    return summary


def make_folder(path: Path) -> None:
    """Make the folder for the results before anything is restored. Raises UserError."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        if not os.access(path, os.W_OK):
            raise PermissionError(errno.EACCES, "not writable")
    except OSError as error:
        reason = "is a file" if path.is_file() else f"cannot be made ({error.strerror})"
        raise UserError(f"--output {path}: {reason}; name a folder to write to") from error


TILE_HELP = """side of the tiles in pixels, a multiple of 8; whole: each picture at once, as the paper does; auto
(default): whole if it fits in memory, else the largest tiles that do. Tiles change the result a little: the channel
attention averages over what it sees"""
STAGE_HELP = "stop after this stage: a little worse, much faster (default: %(default)s)"
TLC_HELP = """means over windows of 1.5 x the training patch in the channel attention, as in training, instead of over
the whole picture: better on pictures much larger than the patches"""


def tile_option(text: str) -> int | str:
    """What --tile was given, as Restorer takes it; Restorer says what it may be."""
    return int(text) if text.isdecimal() else text


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
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

Results keep the input's name, format, bit depth, transparency, colour profile and EXIF.
exit code: 0 if every picture was restored, 2 if one could not be (the others are done all the same)""",
    )
    what = parser.add_argument_group("what to restore, and with which weights")
    what.add_argument("--task", choices=TASKS, help="use the weights that ship with the package for this task")
    what.add_argument("--checkpoint", metavar="DIR", help="use the weights of this bundle instead")
    what.add_argument("--input", metavar="PATH", nargs="+", default=[], help="picture files and folders of them")
    what.add_argument("--recursive", action="store_true", help="also the folders below the input folders")
    what.add_argument("--samples", action="store_true", help="restore the sample pictures of the package")
    to = parser.add_argument_group("where the results go")
    to.add_argument(
        "--output", metavar="DIR", type=lambda text: text and Path(text), required=True, help="folder for the results"
    )
    to.add_argument("--suffix", default="", help="put this behind each name: --suffix _clean makes party_clean.jpg")
    to.add_argument(
        "--format", choices=("png", "jpg", "tif", "webp"), help="format of all results (default: the input's)"
    )
    to.add_argument("--quality", type=int, default=95, help="of JPEGs, 1 to 100 (default: %(default)s)")
    to.add_argument("--overwrite", action="store_true", help="restore again what is in the output folder already")
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
    args = parser.parse_args(argv)
    if args.task is None and args.checkpoint is None:
        parser.error(f"name a task (--task {{{','.join(TASKS)}}}) or a bundle (--checkpoint DIR)")
    if not args.input and not args.samples:
        parser.error("name pictures or folders (--input PATH ...), or try the ones that ship (--samples)")
    if not 1 <= args.quality <= 100:
        parser.error(f"--quality must be in 1..100, got {args.quality}")
    if not args.output or "" in args.input or args.checkpoint == "":
        parser.error("an empty name was given for --output, --input or --checkpoint")
    if "/" in args.suffix:
        parser.error(f"--suffix is part of a name and holds no '/', got {args.suffix!r}")
    args.output = Path(args.output)
    return args


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    with exit_on_user_error(COMMAND):
        restorer = Restorer.from_pretrained(
            args.checkpoint or args.task,
            dtype=args.dtype,
            stages=args.stage,
            tlc=args.tlc,
            patch_size=args.patch_size,
            self_ensemble=args.self_ensemble,
            tile=args.tile,
            overlap=args.overlap,
        )
        inputs = [*args.input, *([SAMPLES / (args.task or "denoising") / "input"] if args.samples else [])]
        make_folder(args.output)
        naming = Naming(args.output, args.suffix, f".{args.format}" if args.format else None, args.recursive)
        summary = restore_files(restorer, inputs, naming, overwrite=args.overwrite, quality=args.quality)
        print(f"{summary}; results are in {args.output}")
        if summary.failed:
            sys.exit(EXIT_USER_ERROR)


if __name__ == "__main__":
    main()

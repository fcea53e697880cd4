"""Restore pictures: `python -m mprnet_jax.infer --task denoising --input PHOTO_OR_FOLDER --output DIR`."""

import argparse
import dataclasses
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from tqdm import tqdm

from mprnet_jax import images
from mprnet_jax.errors import EXIT_USER_ERROR, UserError, exit_on_user_error
from mprnet_jax.pretrained import TASKS
from mprnet_jax.restore import Restorer

COMMAND = "mprnet_jax.infer"
SAMPLES = Path(__file__).parent / "samples"


@dataclasses.dataclass
class Summary:
    """What became of the pictures of a run."""

    restored: int = 0
    skipped: int = 0  # the result was there already
    failed: list[str] = dataclasses.field(default_factory=list)  # a line for each

    def __str__(self) -> str:
        counts = [(self.restored, "restored"), (self.skipped, "there already"), (len(self.failed), "failed")]
        return ", ".join(f"{count} {what}" for count, what in counts if count) or "nothing to do"


def _fail(summary: Summary, error: UserError) -> None:
    summary.failed.append(str(error))
    tqdm.write(f"{COMMAND}: error: {error}", file=sys.stderr)


def restore_files(restorer: Restorer, inputs: Iterable[str | Path], output: Path, overwrite: bool = False) -> Summary:
    """Restore files, and the pictures of folders, into a folder, under their own names.

    What cannot be restored is reported on stderr and left out; an input is never overwritten.
    """
    summary = Summary()
    taken: dict[Path, Path] = {}  # result -> the input it comes from
    paths = []
    for entry in inputs:
        try:
            paths += images.find(entry)
        except UserError as error:
            _fail(summary, error)
    with tqdm(paths, unit="picture", dynamic_ncols=True) as bar:
        for path in bar:
            bar.set_description(path.name)
            result = output / path.name
            try:
                if result.exists() and result.samefile(path):
                    raise UserError(f"{path}: the result would overwrite it; choose another --output")
                if result in taken:
                    raise UserError(
                        f"{path}: its result would overwrite that of {taken[result]}; restore it into another --output"
                    )
                taken[result] = path
                if result.exists() and not overwrite:
                    summary.skipped += 1
                    continue
                images.write(result, restorer(path))
                summary.restored += 1
            except UserError as error:
                _fail(summary, error)
    return summary


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=f"python -m {COMMAND}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Restore pictures with MPRNet. Inputs are never changed.",
        epilog="""examples:
  restore the pictures that ship with the package:
    python -m mprnet_jax.infer --task denoising --samples --output restored
  restore a photo and a folder of photos:
    python -m mprnet_jax.infer --task denoising --input party.jpg holidays/ --output restored
  use converted official weights (tools/convert_torch_ckpt.py):
    python -m mprnet_jax.infer --checkpoint deblurring/ --input shaken.jpg --output restored

exit code: 0 if every picture was restored, 2 if one could not be (the others are done all the same)""",
    )
    parser.add_argument("--task", choices=TASKS, help="use the weights that ship with the package for this task")
    parser.add_argument("--checkpoint", metavar="DIR", help="use the weights of this bundle instead")
    parser.add_argument("--input", metavar="PATH", nargs="+", default=[], help="picture files and folders of them")
    parser.add_argument("--samples", action="store_true", help="restore the sample pictures of the package")
    parser.add_argument("--output", metavar="DIR", type=Path, required=True, help="folder for the results")
    parser.add_argument("--overwrite", action="store_true", help="restore again what is in the output folder already")
    parser.add_argument(
        "--dtype",
        choices=("float32", "bfloat16"),
        default="float32",
        help="what the network computes in; bfloat16 is faster on GPUs and TPUs, not on CPUs (default: %(default)s)",
    )
    args = parser.parse_args(argv)
    if args.task is None and args.checkpoint is None:
        parser.error(f"name a task (--task {{{','.join(TASKS)}}}) or a bundle (--checkpoint DIR)")
    if not args.input and not args.samples:
        parser.error("name pictures or folders (--input PATH ...), or try the ones that ship (--samples)")
    return args


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    with exit_on_user_error(COMMAND):
        restorer = Restorer.from_pretrained(args.checkpoint or args.task, dtype=args.dtype)
        inputs = [*args.input, *([SAMPLES / (args.task or "denoising") / "input"] if args.samples else [])]
        summary = restore_files(restorer, inputs, args.output, overwrite=args.overwrite)
        print(f"{summary}; results are in {args.output}")
        if summary.failed:
            sys.exit(EXIT_USER_ERROR)


if __name__ == "__main__":
    main()

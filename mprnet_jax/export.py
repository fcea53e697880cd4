"""Write the network for programs without this package: `python -m mprnet_jax.export --task denoising --format onnx`.

An export is a folder: the file, a program that runs it, and a report of how near it is to the JAX network.
"""

import argparse
import dataclasses
import datetime
import hashlib
import json
import platform
import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mprnet_jax.checkpoints.bundle import Bundle, load_bundle
from mprnet_jax.checkpoints.pretrained import TASKS, bundle_path
from mprnet_jax.interchange import darktable, onnx_graph, parity, stablehlo
from mprnet_jax.interchange.example import EXAMPLE, example, version
from mprnet_jax.interchange.format import Format, output_names
from mprnet_jax.interchange.torch import export as torch_export
from mprnet_jax.restoring import add_restore_options, restore_options
from mprnet_jax.runtime.compile_cache import use_compile_cache
from mprnet_jax.runtime.jax_settings import check_devices, standard_settings
from mprnet_jax.support.command_line import Parser, add_cache_option, path_option
from mprnet_jax.support.errors import UserError, exit_on_user_error

COMMAND = "mprnet_jax.export"
FORMATS = {
    "stablehlo": stablehlo.FORMAT,
    "onnx": onnx_graph.FORMAT,
    "torch": torch_export.FORMAT,
    "darktable": darktable.FORMAT,
}
REPORT = "parity.json"


def export(
    bundle: Bundle, output: str | Path, format: str, stages: int = 3, every_stage: bool = False, overwrite: bool = False
) -> dict[str, Any]:
    """Write an export to a folder and return its report, which is in the folder too.

    The folder appears whole or not at all, and only if the file computes what the JAX network does. Raises UserError
    for a folder that exists (with `overwrite`: for one that is no export), for a format that there is not, and if a
    package is missing.
    """
    if format not in FORMATS:
        raise UserError(f"unknown format {format!r}; choose from {', '.join(FORMATS)}")
    form, output = FORMATS[format], Path(output).absolute()
    if format == "torch" and (stages != 3 or every_stage):
        raise UserError("a PyTorch checkpoint always holds all three stages; leave the options for stages out")
    _check_replaceable(output, overwrite)
    with standard_settings():
        return _write(form, format, bundle, output, stages, every_stage)


def _write(form: Format, format: str, bundle: Bundle, output: Path, stages: int, every_stage: bool) -> dict[str, Any]:
    temporary = output.with_name(f".{output.name}.{uuid.uuid4().hex[:8]}")
    try:
        temporary.mkdir(parents=True)
        form.write(temporary / form.file, bundle, stages, every_stage)
        report = _report(temporary / form.file, form, format, bundle, stages, every_stage)
        (temporary / REPORT).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        (temporary / EXAMPLE).write_text(example(form, datetime.date.today()), encoding="utf-8")
        _move(temporary, output)
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"{output}: cannot be written ({reason}); check the folder and the space left") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return report


def _check_replaceable(output: Path, overwrite: bool) -> None:
    if not output.exists():
        return
    if not overwrite:
        raise UserError(f"{output} exists; choose another folder, or replace it with --overwrite")
    if not (output / REPORT).is_file():
        raise UserError(f"{output}: not an export (no {REPORT} in it), which alone is replaced; choose another folder")


def _move(temporary: Path, output: Path) -> None:
    if not output.exists():
        temporary.rename(output)
        return
    old = temporary.with_name(temporary.name + ".old")
    output.rename(old)
    temporary.rename(output)
    shutil.rmtree(old)


def _report(path: Path, form: Format, format: str, bundle: Bundle, stages: int, every_stage: bool) -> dict[str, Any]:
    """What the file is and how near it comes. Raises UserError if it is not near enough."""
    names = output_names(stages, every_stage)
    found = parity.differences(form.read(path, bundle.config), bundle, stages, names)
    parity.check(found, f"the {format} file computes something else than the JAX network")
    largest = parity.largest(found)
    sizes = ", ".join(f"{difference.height} x {difference.width}" for difference in found)
    packages = ("mprnet_jax", "jax", "jaxlib", "flax", "numpy", *form.packages)
    summary = f"{form.file}: within {largest:.1e} of the JAX network on random images of {sizes} pixels"
    until = form.guaranteed_until(datetime.date.today())
    if until:
        summary += f"; {form.written_by} guarantees to run it until {until}, export it again then"
    return {
        "summary": summary,
        "guaranteed_until": until,
        "largest_difference": largest,
        "tolerance": parity.TOLERANCE,
        "differences": [dataclasses.asdict(difference) for difference in found],
        "format": format,
        "file": form.file,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "outputs": names,
        "config": dataclasses.asdict(bundle.config),
        "provenance": bundle.provenance.to_json(),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
    }


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command's options."""
    parser = Parser(
        prog=f"python -m {COMMAND}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Write the network for programs without this package.",
        epilog=f"""formats:
  stablehlo  for JAX without this package, on {", ".join(stablehlo.PLATFORMS)}
  onnx       for ONNX Runtime, OpenVINO and what else reads ONNX (opset {onnx_graph.OPSET})
  torch      for PyTorch programs that load the official checkpoints: spandrel, ComfyUI, chaiNNer
  darktable  a package for darktable's neural restore (5.6), which takes images of any size

The others take batches of images of any size whose height and width are multiples of 8. The folder that is written
holds the file, {EXAMPLE} (a program that restores a picture with it, without this package) and {REPORT} (the largest
difference to the JAX network, versions, SHA-256). Needs: pip install 'mprnet_jax[export]', for torch
'mprnet_jax[verify]'.""",
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--task", choices=TASKS, help="export the weights that ship with the package for this task")
    what.add_argument("--checkpoint", metavar="DIR", type=path_option, help="export the weights of this bundle")
    parser.add_argument("--format", choices=FORMATS, required=True, help="see below")
    parser.add_argument("--output", metavar="DIR", type=path_option, required=True, help="new folder for the export")
    add_restore_options(parser, only=("stages",))
    parser.add_argument("--every-stage", action="store_true", help="return the images of the earlier stages, too")
    parser.add_argument("--overwrite", action="store_true", help="replace an export that is there")
    add_cache_option(parser)
    args = parser.parse_args(argv)
    args.stage = restore_options(parser, args).stages
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the options and write the export."""
    args = parse_args(argv)
    if not args.no_compile_cache:
        use_compile_cache()
    with exit_on_user_error(COMMAND):
        _check_replaceable(Path(args.output), args.overwrite)  # before the checkpoint is read
        bundle = load_bundle(bundle_path(args.checkpoint or args.task))
        check_devices()
        report = export(bundle, args.output, args.format, args.stage, args.every_stage, args.overwrite)
        print(f"wrote {args.output}\n{report['summary']}")


if __name__ == "__main__":
    main()

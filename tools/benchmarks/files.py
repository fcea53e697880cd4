"""`benchmark.py files`: the whole command, from a file to a file, beside a script in PyTorch."""

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import networks, report, timing
from benchmarks.start import run_command
from mprnet_jax import images
from mprnet_jax.checkpoints.bundle import load_bundle
from mprnet_jax.checkpoints.pretrained import SAMPLES, bundle_path
from mprnet_jax.model import SIZE_MULTIPLE
from mprnet_jax.restoring.options import DTYPES, ENGINES
from mprnet_jax.restoring.tiles import Tiles
from mprnet_jax.runtime.devices import cores
from mprnet_jax.support.errors import UserError

ASPECT = 3 / 2  # of the photos
SCRIPT = "PyTorch script, channels_last"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--task", default="denoising", help="whose shipped weights [%(default)s]")
    parser.add_argument("--megapixels", nargs="+", type=float, default=[0.1, 12], metavar="MP", help="[0.1 12]")
    parser.add_argument("--engine", nargs="+", choices=ENGINES, default=["xla", "openvino"], help="[xla openvino]")
    parser.add_argument("--dtype", nargs="+", choices=DTYPES, default=["float32", "auto"], help="[float32 auto]")
    parser.add_argument("--tile", type=int, default=1024, help="of the script in PyTorch [%(default)s]")
    parser.add_argument("--threads", type=int, help="cores to use [all]")
    parser.add_argument("--alone", nargs=2, metavar=("IN", "OUT"), help="be the script in PyTorch, for one file")
    parser.add_argument("--output", type=Path, metavar="FILE.json", help="write JSON")


def main(args: argparse.Namespace) -> None:
    """Time of `python -m mprnet_jax.infer` for one photo of some megapixels, start, compiling, reading and writing
    included, with each engine and dtype: with an empty compile cache (first), then with what that left (second).

    Beside it a script in PyTorch that reads, restores in tiles of --tile and writes. Photos are repeated samples. On a
    busy machine take --threads 1 and the CPU seconds.
    """
    if min(args.megapixels) <= 0:
        raise UserError("--megapixels must be positive")
    threads = timing.use_threads(args.threads)
    if args.alone:
        restore_with_torch(args.task, Path(args.alone[0]), Path(args.alone[1]), args.tile)
        return
    rows: list[dict[str, Any]] = []
    cells = []
    with tempfile.TemporaryDirectory() as folder:
        for megapixels in args.megapixels:
            photo = Path(folder) / f"{megapixels:g}.png"
            _write_photo(photo, args.task, megapixels)
            for name, command, environment in _contestants(args, photo, Path(folder)):
                row: dict[str, Any] = {"megapixels": megapixels, "name": name}
                try:
                    row |= run_command(command, environment)
                    measured = [f"{row['wall_s']:.2f}", f"{row['cpu_s']:.2f}"]
                except UserError as error:
                    row["missing"] = str(error).rsplit("failed: ", 1)[-1]
                    measured = ["-", row["missing"][:60]]
                rows.append(row)
                cells.append([f"{megapixels:g} MP, {name}", *measured])
    print(report.table(["", "wall s", "CPU s"], cells))
    if args.output:
        report.save(args.output, {"command": {"what": "files"}, "machine": report.machine(threads), "results": rows})


def _contestants(args: argparse.Namespace, photo: Path, folder: Path) -> list[tuple[str, list[str], dict[str, str]]]:
    """Name, command and environment of all that restore a photo, in the order in which they run."""
    found = []
    for engine in args.engine:
        for dtype in args.dtype:
            environment = {**os.environ, "XDG_CACHE_HOME": str(folder / f"cache {photo.stem} {engine} {dtype}")}
            environment.pop("JAX_COMPILATION_CACHE_DIR", None)
            command = [sys.executable, "-m", "mprnet_jax.infer", "--task", args.task, "--input", str(photo)]
            command += ["--engine", engine, "--dtype", dtype, "--overwrite", "--output", str(folder / "restored")]
            found += [(f"{engine}, {dtype}, {time}", command, environment) for time in ("first", "second")]
    script = [sys.executable, sys.argv[0], "files", "--task", args.task, "--tile", str(args.tile)]
    script += ["--alone", str(photo), str(folder / "torch.png")]
    return [*found, (SCRIPT, script, dict(os.environ))]


def _write_photo(path: Path, task: str, megapixels: float) -> None:
    """A sample, repeated to a size."""
    sample = images.read(sorted((SAMPLES / task / "input").glob("*"))[0])
    height = round((megapixels * 1e6 / ASPECT) ** 0.5)
    width = round(height * ASPECT)
    times = height // sample.shape[0] + 1, width // sample.shape[1] + 1, 1
    images.write(path, np.tile(sample, times)[:height, :width])


def restore_with_torch(task: str, source: Path, result: Path, tile: int) -> None:
    """What a user of PyTorch would write: the released network, a photo, tiles that blend. Raises UserError."""
    bundle = load_bundle(bundle_path(task))
    pixels = images.to_float(images.read(source))
    height, width, _ = pixels.shape
    sides = tuple(-side % SIZE_MULTIPLE for side in (height, width))
    padded = np.pad(pixels, ((0, sides[0]), (0, sides[1]), (0, 0)), mode="reflect")
    try:
        torch = networks.Torch(cores())
        network = torch.network(bundle.config, bundle.params).eval().to(memory_format=torch.torch.channels_last)
    except timing.Missing as error:
        raise UserError(str(error)) from error
    whole = padded.shape[:2]
    tiles = Tiles(*whole, *((whole, 0) if tile >= max(whole) else ((tile, tile), tile // 8)))
    restored = np.empty_like(padded)

    def keep(first_row: int, rows: np.ndarray) -> None:
        restored[first_row : first_row + len(rows)] = rows

    def parts() -> Any:
        for part in tiles.parts():
            x = torch.tensor(padded[part][None]).contiguous(memory_format=torch.torch.channels_last)
            with torch.torch.inference_mode():
                yield network(x)[0][0].permute(1, 2, 0).cpu().numpy()

    tiles.blend(parts(), keep)
    images.write(result, images.to_uint8(restored[:height, :width]))

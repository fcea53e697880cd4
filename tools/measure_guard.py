"""Measure what the guard looks at on ordinary pictures, and whether it fires on planted failures.

python tools/measure_guard.py PHOTOS [PHOTOS ...] --count 200

Every photo's middle is degraded as the tasks' training data are (tools/show_degradations.py), every fifth stays clean;
drawings, text and a night sky are made. Prints the largest values with ordinary weights and the false alarms; then the
share of pictures that are caught with weights that were damaged, and with inputs out of range.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from show_degradations import SHOWN

from mprnet_jax import images
from mprnet_jax.checkpoints.pretrained import PRETRAINED
from mprnet_jax.data.augment import window
from mprnet_jax.data.degradations.base import degrade_crop
from mprnet_jax.restoring import Restorer, guard
from mprnet_jax.restoring.engines.executables import Job, ProgramKey, run
from mprnet_jax.runtime.compile_cache import use_compile_cache
from mprnet_jax.support.command_line import Parser, path_option
from mprnet_jax.support.errors import exit_on_user_error

SIZE = 256  # pixels, side of what is restored
WORDS = {"denoising": ("noise", "camera"), "deraining": ("rain",), "deblurring": ("shake", "blur")}  # of rows of SHOWN
LARGEST = {"shift", "step", "excess"}


def photos(folders: Sequence[Path], count: int) -> list[np.ndarray]:
    """Middles of photos, evenly spread over the folders' files, H W 3 uint8, with a border for degradations."""
    paths = [path for folder in folders for path in images.find(folder, recursive=True)]
    return [images.read(paths[i * len(paths) // count]) for i in range(min(count, len(paths)))]


def ordinary(photo: np.ndarray, index: int, words: Sequence[str]) -> tuple[str, np.ndarray]:
    """One degraded or clean crop, H W 3 float32."""
    names = [name for name in SHOWN if any(word in name for word in words)]
    if index % 5 == 4:
        degradation, name = None, "clean"
    else:
        name = names[index % len(names)]
        degradation = SHOWN[name]
    margin = 0 if degradation is None else degradation.margin
    top, left = (max(0, side - SIZE) // 2 for side in photo.shape[:2])
    wide = np.ascontiguousarray(window(photo, top, left, SIZE, margin))
    if degradation is None:
        return name, images.to_float(wide)
    return name, images.to_float(degrade_crop(degradation, wide, np.random.default_rng(index)).input)


def odd() -> Iterator[tuple[str, np.ndarray]]:
    """Pictures that no camera takes: text, a drawing, a night sky, plain colours, single-pixel stripes, pure noise."""
    rng = np.random.default_rng(0)
    for ink, paper in (("black", "white"), ("white", "black"), ("yellow", "navy")):
        page = Image.new("RGB", (SIZE, SIZE), paper)
        draw = ImageDraw.Draw(page)
        for line in range(18):
            draw.text((4, 14 * line), "The quick brown fox jumps over the lazy dog 0123", fill=ink)
        yield "text", images.to_float(np.asarray(page))
    for seed in range(3):
        page = Image.new("RGB", (SIZE, SIZE), "white")
        draw, made = ImageDraw.Draw(page), np.random.default_rng(seed)
        for _ in range(25):
            corners = sorted(made.integers(0, SIZE, 2)), sorted(made.integers(0, SIZE, 2))
            box = [corners[0][0], corners[1][0], corners[0][1] + 1, corners[1][1] + 1]
            draw.ellipse(box, fill=tuple(map(int, made.integers(0, 256, 3))), outline="black")
        yield "drawing", images.to_float(np.asarray(page))
    for sigma in (0, 0.02, 0.08):
        night = np.zeros((SIZE, SIZE, 3), np.float32)
        night[tuple(rng.integers(0, SIZE, (2, 300)))] = rng.random((300, 1))
        yield "night", np.clip(night + rng.normal(0, sigma, night.shape), 0, 1).astype(np.float32)
    for colour in ((0, 0, 0), (1, 1, 1), (1, 0, 0), (0.5, 0.5, 0.5)):
        yield "plain", np.broadcast_to(np.float32(colour), (SIZE, SIZE, 3)).copy()
    stripes = (np.arange(SIZE) % 2).astype(np.float32)
    yield "stripes", np.broadcast_to(stripes[:, None, None], (SIZE, SIZE, 3)).copy()
    yield "checkerboard", np.repeat((stripes[:, None] != stripes)[..., None], 3, -1).astype(np.float32)
    yield "pure noise", rng.random((SIZE, SIZE, 3), np.float32)


def stages_of(restorer: Restorer, image: np.ndarray) -> list[np.ndarray]:
    """The images of all stages, the first first; the image is not clipped, as a Restorer would."""
    key = ProgramKey(restorer._network, *image.shape[:2])
    ((_, pixels),) = run([Job(key, image)], restorer._engine)
    return [pixels[..., first : first + 3] for first in range(0, pixels.shape[2], 3)][::-1]


def worst(image: np.ndarray, stages: list[np.ndarray]) -> np.ndarray:
    """The largest shift, step and excess of any stage and block."""
    found = guard.measure(image, stages)
    return np.max([[each.shift.max(), each.step.max(), each.excess.max()] for each in found], axis=0)


def damaged(restorer: Restorer) -> Iterator[tuple[str, Restorer]]:
    """The same network with weights that something has broken."""
    import jax

    rng = np.random.default_rng(0)
    paths, leaves = zip(*jax.tree_util.tree_leaves_with_path(restorer.params), strict=True)
    build = lambda changed: Restorer(
        restorer.config,
        jax.tree.unflatten(jax.tree.structure(restorer.params), changed),
        restorer.provenance,
        restorer.options,
    )
    for factor in (1.5, 2, 4):
        yield f"all kernels x {factor}", build([np.asarray(leaf) * np.float32(factor) for leaf in leaves])
    last = [i for i, path in enumerate(paths) if "tail" in str(path)]
    for factor in (10, 100):
        yield (
            f"last layer x {factor}",
            build([np.asarray(leaf) * np.float32(factor if i in last else 1) for i, leaf in enumerate(leaves)]),
        )
    noisy = [leaf + rng.normal(0, 0.3, np.shape(leaf)).astype(np.float32) for leaf in leaves]
    yield "noise of 0.3 on all weights", build(noisy)
    broken = [np.array(leaf) for leaf in leaves]
    broken[len(broken) // 2].flat[0] = np.nan
    yield "one weight not a number", build(broken)


def main(argv: Sequence[str] | None = None) -> None:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", nargs="+", type=path_option, help="folders of clean photos")
    parser.add_argument("--count", type=int, default=200, help="photos for each task (default: %(default)s)")
    parser.add_argument("--planted", type=int, default=8, help="photos for each planted failure (default: %(default)s)")
    parser.add_argument("--task", nargs="+", choices=list(WORDS), default=list(WORDS))
    parser.add_argument(
        "--genuine", nargs="+", type=path_option, default=[], help="degraded pictures, taken as they are"
    )
    args = parser.parse_args(argv)
    use_compile_cache()
    with exit_on_user_error("measure_guard"):
        print(f"limits: {guard.LIMITS}")
        clean = photos(args.photos, args.count)
        for task in args.task:
            restorer = Restorer.from_pretrained(PRETRAINED[task])
            report(task, restorer, clean, args.planted, args.genuine)


def report(task: str, restorer: Restorer, clean: list[np.ndarray], planted: int, genuine: Sequence[Path]) -> None:
    inputs = [ordinary(photo, index, WORDS[task]) for index, photo in enumerate(clean)]
    sets = {"photos": inputs, "odd pictures": list(odd())}
    for folder in genuine:
        read = {path.stem: images.to_float(images.read(path)) for path in images.find(folder)}
        sets[str(folder)] = [
            (name, image[: len(image) // 8 * 8, : image.shape[1] // 8 * 8]) for name, image in read.items()
        ]
    for label, pictures in sets.items():
        values, fired, alarms = [], 0, []
        for name, image in pictures:
            stages = stages_of(restorer, image)
            values.append(worst(image, stages))
            if guard.guarded(image, stages, guard.LIMITS[task])[1] is not None:
                fired += 1
                alarms.append(name)
        rows = {"median": np.median(values, axis=0), "largest": np.max(values, axis=0)}
        for row, (shift, step, excess) in rows.items():
            print(f"{task}, {label}, {row}: shift {shift:.4f}, step {step:.4f}, excess {excess:.4f}")
        print(f"{task}, {label}: {fired} alarms in {len(pictures)} {alarms}", flush=True)
    some = [image for _, image in inputs[:planted]]
    for name, broken in damaged(restorer):
        caught = [guard.guarded(image, stages_of(broken, image), guard.LIMITS[task])[1] is not None for image in some]
        print(f"{task}, {name}: caught in {sum(caught)} of {len(caught)}", flush=True)
    for name, change in (("x 4", lambda x: 4 * x), ("x 255", lambda x: 255 * x), ("- 2", lambda x: x - 2)):
        pairs = [(np.float32(change(image)), image) for image in some]
        caught = [
            guard.guarded(image, stages_of(restorer, out), guard.LIMITS[task])[1] is not None for out, image in pairs
        ]
        print(f"{task}, input {name}, not clipped: caught in {sum(caught)} of {len(caught)}", flush=True)


if __name__ == "__main__":
    main()

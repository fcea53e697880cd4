"""Make the sample pictures that ship in mprnet_jax/samples from a folder of photographs.

python tools/make_samples.py PHOTOS
PHOTOS holds wallpapers/, samples/ and pairs/SIDD_train10/; mprnet_jax/samples/README.md says who made them and under
which licences. No training that ships has seen any of them (configs/shipped/held_out.txt).
"""

import argparse
from pathlib import Path

import numpy as np

from mprnet_jax import images
from mprnet_jax.data.degradations.base import Degradation
from mprnet_jax.data.degradations.motion_blur import MotionBlur
from mprnet_jax.data.degradations.noise import Noise
from mprnet_jax.data.degradations.rain import Rain
from mprnet_jax.support.command_line import Parser, path_option

SAMPLES = Path(__file__).parent.parent / "mprnet_jax" / "samples"
SIZE = (288, 384)  # height, width

# Photo, top, left.
KOALA = ("wallpapers/063_sleeping_beauty_by_jordan-whitt.jpg", 190, 330)
BRIDGE = ("wallpapers/079_ryan-stone-skykomish-river.jpg", 270, 420)
CAT = ("wallpapers/051_Untitled_by_Anna_Ceccarelli.jpg", 390, 250)
COFFEE = ("samples/coffee.png", 60, 120)

# Task -> name, crop, what is done to it (None: nothing), seed. Two crops are the same for all tasks.
SYNTHETIC: dict[str, tuple[tuple[str, tuple[str, int, int], Degradation | None, int], ...]] = {
    "denoising": (
        ("koala_sigma25", KOALA, Noise((25, 25)), 0),
        ("bridge_sigma50", BRIDGE, Noise((50, 50)), 1),
        ("cat_camera15", CAT, Noise((15, 15), camera_share=1), 2),
        ("coffee_clean", COFFEE, None, 3),
    ),
    "deraining": (
        ("koala_rain", KOALA, Rain(density=(0.12, 0.12), brightness=(0.5, 0.5)), 0),
        ("bridge_downpour", BRIDGE, Rain(density=(0.22, 0.22), brightness=(0.6, 0.6)), 1),
    ),
    "deblurring": (
        ("koala_shake9", KOALA, MotionBlur(size=(9, 9)), 0),
        ("bridge_shake14", BRIDGE, MotionBlur(size=(14, 14)), 1),
    ),
}
# Real noise of a phone's camera: pairs of SIDD Medium.
REAL = (
    ("phone1", "0001_SRGB_010_s045.png", 220, 110),
    ("phone2", "0001_SRGB_010_s054.png", 220, 120),
)


def crop(path: Path, top: int, left: int) -> np.ndarray:
    picture = images.read(path)[top : top + SIZE[0], left : left + SIZE[1]]
    if picture.shape != (*SIZE, 3):
        raise SystemExit(f"{path}: too small for a crop of {SIZE} at {top}, {left}")
    return picture


def main() -> None:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=path_option, metavar="PHOTOS")
    photos = parser.parse_args().photos
    for task, samples in SYNTHETIC.items():
        for name, (file, top, left), degrade, seed in samples:
            clean = crop(photos / file, top, left)
            degraded = clean if degrade is None else degrade(clean, np.random.default_rng(seed))
            images.write(SAMPLES / task / "input" / f"{name}.png", degraded)
            images.write(SAMPLES / task / "target" / f"{name}.png", clean)
    for name, file, top, left in REAL:
        for side in ("input", "target"):
            picture = crop(photos / "pairs" / "SIDD_train10" / side / file, top, left)
            images.write(SAMPLES / "denoising" / side / f"{name}.png", picture)


if __name__ == "__main__":
    main()

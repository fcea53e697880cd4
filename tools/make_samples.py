"""Make the sample pictures that ship in mprnet_jax/samples from a folder of photographs.

python tools/make_samples.py PHOTOS
PHOTOS holds wallpapers/, samples/ and pairs/SIDD_train10/; mprnet_jax/samples/README.md says who made them and under
which licences. No training that ships has seen any of them (configs/held_out.txt).
"""

import argparse
from pathlib import Path

import numpy as np

from mprnet_jax import images
from mprnet_jax.data.degrade import Noise

SAMPLES = Path(__file__).parent.parent / "mprnet_jax" / "samples" / "denoising"
SIZE = (288, 384)  # height, width

# name, photo, top, left, noise (None: the photo as it is)
SYNTHETIC = (
    ("koala_sigma25", "wallpapers/063_sleeping_beauty_by_jordan-whitt.jpg", 190, 330, Noise((25, 25))),
    ("bridge_sigma50", "wallpapers/079_ryan-stone-skykomish-river.jpg", 270, 420, Noise((50, 50))),
    ("cat_camera15", "wallpapers/051_Untitled_by_Anna_Ceccarelli.jpg", 390, 250, Noise((15, 15), camera_share=1)),
    ("coffee_clean", "samples/coffee.png", 60, 120, None),
)
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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, metavar="PHOTOS")
    photos = parser.parse_args().photos
    for seed, (name, file, top, left, noise) in enumerate(SYNTHETIC):
        clean = crop(photos / file, top, left)
        degraded = clean if noise is None else noise(clean, np.random.default_rng(seed))
        images.write(SAMPLES / "input" / f"{name}.png", degraded)
        images.write(SAMPLES / "target" / f"{name}.png", clean)
    for name, file, top, left in REAL:
        for side in ("input", "target"):
            picture = crop(photos / "pairs" / "SIDD_train10" / side / file, top, left)
            images.write(SAMPLES / side / f"{name}.png", picture)


if __name__ == "__main__":
    main()

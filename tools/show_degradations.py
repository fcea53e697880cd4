"""Draw a sheet of what the degradations make of photographs: clean | degraded, for a person to judge by eye.

python tools/show_degradations.py --photos photos --output sheet.png
Every row is a degradation, every pair of columns a photo; `--only camera rain` shows some. The seed of each is its
place on the sheet.
"""

import argparse
import dataclasses
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from mprnet_jax import images
from mprnet_jax.checkpoints.pretrained import SAMPLES
from mprnet_jax.data.augment import window
from mprnet_jax.data.degradations.base import Degradation, degrade_crop
from mprnet_jax.data.degradations.camera_noise import DSLR, PHONE, SMOOTH_COLOURS
from mprnet_jax.data.degradations.compression import Jpeg
from mprnet_jax.data.degradations.mixture import Chain
from mprnet_jax.data.degradations.motion_blur import MotionBlur
from mprnet_jax.data.degradations.noise import Noise, PoissonNoise
from mprnet_jax.data.degradations.rain import Rain
from mprnet_jax.data.degradations.softness import Softness
from mprnet_jax.data.degradations.video_blur import VideoBlur
from mprnet_jax.support.command_line import Parser
from mprnet_jax.support.errors import UserError, exit_on_user_error

SHOWN: dict[str, Degradation] = {
    "white noise": Noise((25, 25)),
    "white noise, JPEG 75": Chain((Noise((25, 25)), Jpeg((75, 75)))),
    "noise of light": PoissonNoise((100, 400)),
    "camera, DSLR": DSLR,
    "camera, smoothed colours": SMOOTH_COLOURS,
    "camera, phone": PHONE,
    "camera, coarse grain": dataclasses.replace(DSLR, scale=(1.8, 3.0)),
    "camera, JPEG": Chain((DSLR, Jpeg((75, 90)))),
    "rain, screened": Rain(),
    "rain, heavy, added": Rain((-60, 60), (15, 90), (0.8, 3.5), (0.25, 1.2), (0.2, 0.7), 1.0, (1, 3)),
    "rain, wide, with mist": Rain(width=(2, 6), brightness=(0.3, 1.0), veil_share=1.0),
    "shake": MotionBlur((10, 20)),
    "video blur": VideoBlur(layers_share=0, defocus_share=0),
    "video blur, layers move": VideoBlur(layers_share=1.0),
    "video blur, soft pixels": Chain((Softness(), VideoBlur(layers_share=0, defocus_share=0))),
    "video blur, noise, JPEG": Chain((VideoBlur(), DSLR, Jpeg((80, 95)))),
}
LABEL = 18  # pixels, height of the line above a row


def row(name: str, crops: list[np.ndarray], size: int, seed: int) -> np.ndarray:
    """A labelled row of clean | degraded pairs; H W 3 uint8."""
    degradation = SHOWN[name]
    parts = []
    for index, photo in enumerate(crops):
        top, left = ((side - size) // 2 for side in photo.shape[:2])
        wide = window(photo, top, left, size, degradation.margin)
        pair = degrade_crop(degradation, np.ascontiguousarray(wide), np.random.default_rng(seed + index))
        parts += [pair.target, pair.input]
    strip = Image.new("RGB", (size * len(parts), size + LABEL), "white")
    ImageDraw.Draw(strip).text((4, 3), name, fill="black")
    strip.paste(Image.fromarray(np.concatenate(parts, axis=1)), (0, LABEL))
    return np.asarray(strip)


def main() -> None:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, default=SAMPLES / "denoising" / "target", help="folder of clean photos")
    parser.add_argument("--output", type=Path, required=True, help="picture to write")
    parser.add_argument("--only", nargs="+", metavar="WORD", help="rows whose name holds one of these words")
    parser.add_argument("--count", type=int, default=4, help="photos [%(default)s]")
    parser.add_argument("--size", type=int, default=160, help="pixels, side of each crop [%(default)s]")
    args = parser.parse_args()
    with exit_on_user_error("show_degradations"):
        names = [name for name in SHOWN if not args.only or any(word in name for word in args.only)]
        if not names:
            raise UserError(f"--only {' '.join(args.only)}: no such row; they are {', '.join(SHOWN)}")
        photos = [images.read(path) for path in images.find(args.photos)[: args.count]]
        rows = [row(name, photos, args.size, 100 * index) for index, name in enumerate(names)]
        images.write(args.output, np.concatenate(rows))
    print(f"{args.output}: {len(names)} degradations of {len(photos)} photos, clean | degraded")


if __name__ == "__main__":
    main()

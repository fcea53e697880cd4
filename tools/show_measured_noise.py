"""Draw a photo's genuine noise beside noise drawn from what mprnet_jax.adapt measures in the noisy photo alone.

python tools/show_measured_noise.py --output docs/images/adapt_noise.png
"""

import argparse

import numpy as np
from PIL import Image

from mprnet_jax import images
from mprnet_jax.adapting import words
from mprnet_jax.adapting.noise_model import measure
from mprnet_jax.adapting.photos import Photo
from mprnet_jax.checkpoints.pretrained import SAMPLES
from mprnet_jax.data.degradations.measured_noise import draw_noise
from mprnet_jax.support.command_line import Parser, path_option
from mprnet_jax.support.errors import UserError, exit_on_user_error

GAP = 6  # pixels between pictures
SIDE, ZOOM, STRONGER = 120, 2, 4  # pixels, times, times


def main() -> None:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", default="phone1", help="of the denoising samples (default: %(default)s)")
    parser.add_argument("--output", type=path_option, required=True, metavar="FILE.png")
    args = parser.parse_args()
    with exit_on_user_error("show_measured_noise"):
        noisy, truth = (
            images.read(SAMPLES / "denoising" / side / f"{args.sample}.png") for side in ("input", "target")
        )
        profiles = measure([Photo.of(args.sample, noisy)])
        if not profiles:
            raise UserError(f"{args.sample}: too few smooth parts; choose another --sample")
        print(words.describe(profiles)[0])
        rng = np.random.default_rng(0)
        genuine = noisy.astype(np.float32) - truth
        drawn = draw_noise(profiles[0], truth, rng)
        white = rng.standard_normal(genuine.shape) * drawn.std(axis=(0, 1))
        for name, noise in (("genuine", genuine), ("drawn", drawn)):
            print(name, "sigma of red, green, blue:", np.round(noise.std(axis=(0, 1)), 2))
        sheet = Image.new("RGB", (3 * SIDE * ZOOM + 2 * GAP, SIDE * ZOOM), "white")
        top, left = 0, (noisy.shape[1] - SIDE) // 2
        for number, noise in enumerate((genuine, drawn, white)):
            cut = noise[top : top + SIDE, left : left + SIDE]
            shown = np.clip(128 + STRONGER * (cut - cut.mean(axis=(0, 1))), 0, 255).astype(np.uint8)
            enlarged = Image.fromarray(shown).resize((SIDE * ZOOM, SIDE * ZOOM), Image.Resampling.NEAREST)
            sheet.paste(enlarged, (number * (SIDE * ZOOM + GAP), 0))
        args.output.parent.mkdir(parents=True, exist_ok=True)
        sheet.save(args.output, optimize=True)


if __name__ == "__main__":
    main()

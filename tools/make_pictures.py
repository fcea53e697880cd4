"""Make the before/after pictures of the README and the model cards from the sample pictures of the package.

python tools/make_pictures.py --names koala --output docs/images/restored.png
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mprnet_jax import images, metrics
from mprnet_jax.checkpoints.pretrained import PRETRAINED, SAMPLES, TASKS
from mprnet_jax.restoring import Restorer
from mprnet_jax.support.command_line import Parser, path_option
from mprnet_jax.support.errors import exit_on_user_error

GAP = 6  # pixels between pictures
LABEL = 26  # pixels, height of the line under each
ZOOM = 2  # whole multiples only: nothing is smoothed


def row(restorer: Restorer, before: Path, box: tuple[int, int, int, int]) -> list[tuple[np.ndarray, str]]:
    """Before, after and truth of one sample, cut to left, top, right, bottom, with their labels."""
    degraded, truth = images.read(before), images.read(before.parent.parent / "target" / before.name)
    restored = restorer(degraded)
    left, top, right, bottom = box
    return [
        (pixels[top:bottom, left:right], label)
        for pixels, label in (
            (degraded, f"before, {metrics.psnr(degraded, truth):.2f} dB"),
            (restored, f"after, {metrics.psnr(restored, truth):.2f} dB"),
            (truth, "truth"),
        )
    ]


def montage(rows: list[list[tuple[np.ndarray, str]]]) -> Image.Image:
    height, width = (side * ZOOM for side in rows[0][0][0].shape[:2])
    size = (len(rows[0]) * (width + GAP) - GAP, len(rows) * (height + LABEL))
    sheet = Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=16)
    for i, cells in enumerate(rows):
        for j, (pixels, label) in enumerate(cells):
            at = j * (width + GAP), i * (height + LABEL)
            sheet.paste(Image.fromarray(pixels).resize((width, height), Image.Resampling.NEAREST), at)
            draw.text((at[0] + 4, at[1] + height + 3), label, fill="black", font=font)
    return sheet


def main() -> None:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", nargs="+", choices=TASKS, default=list(PRETRAINED), help="[all with weights]")
    parser.add_argument("--output", type=path_option, required=True, metavar="FILE.png")
    parser.add_argument("--size", type=int, default=180, help="side of the crops in pixels (default: %(default)s)")
    parser.add_argument("--names", nargs="+", help="how the samples' names begin (default: all that are degraded)")
    args = parser.parse_args()
    with exit_on_user_error("make_pictures"):
        rows = []
        for task in args.task:
            restorer = Restorer.from_pretrained(task)
            for path in images.find(SAMPLES / task / "input"):
                if path.stem.startswith(tuple(args.names)) if args.names else not path.stem.endswith("_clean"):
                    height, width = images.read(path).shape[:2]
                    left, top = (width - args.size) // 2, (height - args.size) // 2
                    rows.append(row(restorer, path, (left, top, left + args.size, top + args.size)))
        args.output.parent.mkdir(parents=True, exist_ok=True)
        montage(rows).save(args.output, optimize=True)


if __name__ == "__main__":
    main()

"""The program that comes with every export and runs it without this package."""

import datetime
import importlib.metadata
from string import Template

from mprnet_jax.interchange.format import Format

EXAMPLE = "example.py"
TEMPLATE = Template('''\
"""Restore a picture: python example.py noisy.jpg restored.png

Needs: pip install numpy pillow $packages
"""

import sys
from pathlib import Path

import numpy as np
$imports
from PIL import Image, ImageOps

if len(sys.argv) != 3:
    sys.exit(__doc__)
path = Path(__file__).with_name("$file")
$load
try:
    picture = ImageOps.exif_transpose(Image.open(sys.argv[1]))  # upright, as it is shown
except OSError as error:
    sys.exit(f"{sys.argv[1]}: cannot be read ({error})")
if picture.mode.startswith(("I", "F")):  # convert("RGB") would cut off instead of scaling
    if picture.mode == "F" or np.asarray(picture).max() > 65535:
        sys.exit(f"{sys.argv[1]}: deeper than 16 bits a channel; save it with 8 or 16")
    picture = Image.fromarray(np.rint(np.asarray(picture) / 257).astype(np.uint8))
image = np.asarray(picture.convert("RGB"), np.float32) / 255
h, w, _ = image.shape
# The network takes multiples of 8.
padded = np.pad(image, [(0, -h % 8), (0, -w % 8), (0, 0)], mode="reflect")
$restore
Image.fromarray(np.rint(restored[:h, :w].clip(0, 1) * 255).astype(np.uint8)).save(sys.argv[2])
''')


def example(form: Format, written: datetime.date) -> str:
    """The program for a format, as text; `written` is the day of the export."""
    about = {"version": version(form.written_by), "until": form.guaranteed_until(written)}
    load, restore = (Template(lines).substitute(about) for lines in (form.load, form.restore))
    packages = " ".join(form.packages)
    return TEMPLATE.substitute(packages=packages, imports=form.imports, file=form.file, load=load, restore=restore)


def version(package: str) -> str:
    """The installed version."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:  # a copy of the sources; the CPU or GPU build under another name
        return "unknown"

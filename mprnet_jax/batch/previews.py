"""What --preview writes: a crop of each picture before and after, side by side, beside where its result would be."""

import errno
import functools
import io
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from types import MappingProxyType

import numpy as np
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin

from mprnet_jax import images
from mprnet_jax.batch.jobs import Batch, Job
from mprnet_jax.batch.run import Summary
from mprnet_jax.batch.source_record import Origin
from mprnet_jax.images.formats.colours import space
from mprnet_jax.restoring import Restorer, make_preview
from mprnet_jax.support.atomic_files import whole_file
from mprnet_jax.support.errors import UserError, one_line
from mprnet_jax.support.paths import real
from mprnet_jax.support.progress import say

ENDING = "_preview.png"
GAP = 8  # pixels between the crops
LABEL = 28  # pixels, height of the line under them
SOFTWARE = "mprnet_jax preview"  # in the file, so that a later run knows it for its own


def write(
    restorer: Restorer,
    batch: Batch,
    summary: Summary,
    at: tuple[int, int] | None,
    strengths: Sequence[float],
    opened: Mapping[Path, Future[images.Picture]] = MappingProxyType({}),
) -> Summary:
    """Write a preview of every picture of a batch, also of those whose result exists; no picture is restored.

    `at` (x, y in pixels of the upright picture) is the middle of the crop, None the busiest; `strengths` are shown
    side by side. `opened`: pictures that are being opened already. What cannot be is a line of the summary, and the
    others are done.
    """
    for error in batch.failures:
        summary.fail(error)
    for job in [*batch.jobs, *batch.existing]:
        if job.is_video:
            summary.fail(UserError(f"{job.source}: is a video, and previews are of pictures; give a frame of it"))
            continue
        try:
            opening = opened.get(job.source)
            picture = opening.result if opening else functools.partial(images.open_picture, job.source)
            path = _write_one(restorer, batch, job, picture, at, strengths)
            summary.restored += 1
            summary.notes.append(f"preview: {one_line(str(path))}")
        except UserError as error:
            summary.fail(error)
        except OSError as error:
            summary.fail(UserError(f"{job.source}: its preview cannot be written ({error.strerror}); check the folder"))
    return summary


def _write_one(
    restorer: Restorer,
    batch: Batch,
    job: Job,
    open_picture: Callable[[], images.Picture],
    at: tuple[int, int] | None,
    strengths: Sequence[float],
) -> Path:
    path = job.result.with_name(f"{job.result.stem}{ENDING}")
    _check_own(path, {real(each.source) for each in [*batch.jobs, *batch.existing]})
    picture = open_picture()
    height, width = picture.pixels.shape[:2]
    if at is not None and not (at[0] < width and at[1] < height):
        raise UserError(f"{job.source}: --preview {at[0]},{at[1]} lies outside; it has {width} x {height} pixels")
    preview = make_preview(restorer, picture.pixels, at, strengths)
    shown = [preview.before, *preview.after]
    if picture.mode == "grey":
        shown = [np.repeat(image.mean(axis=-1, keepdims=True), 3, axis=-1) for image in shown]
    if picture.alpha is not None:
        alpha = images.to_float(picture.alpha[preview.part])[..., None]
        shown = [image * alpha + 1 - alpha for image in shown]
    after = [f"after, strength {share:g}" for share in strengths] or ["after"]
    rows, columns = preview.part
    before = f"before, {columns.start},{rows.start} to {columns.stop},{rows.stop}"
    sheet = side_by_side(shown, [before, *after])
    profile = picture.icc if picture.mode == "rgb" and space(picture.icc) == b"RGB " else None
    with whole_file(path) as temporary:
        temporary.write_bytes(_png(sheet, profile))
    if batch.record is not None:
        batch.record.add(path, Origin.of(job.source))  # so that a later run does not take it for a photo
    say(f"{path}: the crop around {(columns.start + columns.stop) // 2},{(rows.start + rows.stop) // 2}")
    return path


def side_by_side(shown: Sequence[np.ndarray], labels: Sequence[str]) -> Image.Image:
    """Images of one size (H W 3 float in [0, 1]) in a row, each with a line under it."""
    height, width = shown[0].shape[:2]
    sheet = Image.new("RGB", (len(shown) * (width + GAP) - GAP, height + LABEL), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=16)
    for i, (image, label) in enumerate(zip(shown, labels, strict=True)):
        sheet.paste(Image.fromarray(images.to_uint8(image)), (i * (width + GAP), 0))
        draw.text((i * (width + GAP) + 4, height + 4), label, fill="black", font=font)
    return sheet


def _png(sheet: Image.Image, profile: bytes | None) -> bytes:
    notes = PngImagePlugin.PngInfo()
    notes.add_text("Software", SOFTWARE)
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG", pnginfo=notes, compress_level=1, **({"icc_profile": profile} if profile else {}))
    return buffer.getvalue()


def _check_own(path: Path, sources: set[Path]) -> None:
    """Raise UserError if a preview would replace an input, or a file that is no preview."""
    if not os.path.lexists(path):
        return
    if real(path) in sources:
        raise UserError(f"{path}: the preview would overwrite an input; choose another --output")
    try:
        with Image.open(path) as picture:
            own = picture.info.get("Software") == SOFTWARE
    except (OSError, ValueError) as error:
        if getattr(error, "errno", None) == errno.EACCES:
            raise
        own = False
    if not own:
        raise UserError(f"{path}: is there already, and no preview; move it, or choose another --output")

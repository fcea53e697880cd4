"""Before training: the noise measured, photos kept aside to check on, and clean pictures made."""

import contextlib
import dataclasses
import json
import queue
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from mprnet_jax import images
from mprnet_jax.adapting import words
from mprnet_jax.adapting.clean_pictures import LARGEST_PART, clean_picture, factor_for, shipped_pictures
from mprnet_jax.adapting.noise_model import level, measure, measure_camera
from mprnet_jax.adapting.photos import LEAST_SIDE, Photo, evenly, middle, read_photos
from mprnet_jax.adapting.plan import Request, Workdir
from mprnet_jax.data.degradations.measured_noise import NoiseProfile, profiles_text
from mprnet_jax.restoring import Restorer
from mprnet_jax.support.errors import UserError

Say = Callable[[str], None]
LEAST_LEVEL = 1.0  # of 255: weaker noise is none to anybody's eyes
LEAST_SHARE = 0.15  # of the photos, in which noise is found: a clean photo of sand may look like one of noise
MOST_ASIDE = 5  # photos to check on
ASIDE_SIDE = 384  # pixels of each
RESTORING_SHARE = 0.2  # of the minutes, after which no more photos are restored for clean pictures
RESTORED_PIXELS = 4_200_000  # of all photos that clean pictures are made of: about half a minute of two cores


def find_photos(request: Request) -> list:
    """The files of all inputs. Raises UserError if there are none, or the output lies in an input folder."""
    output = request.output.resolve()
    for path in request.inputs:
        folder = path.resolve()
        if folder.is_dir() and (output == folder or folder in output.parents):
            raise UserError(
                f"{request.output}: lies in the input folder, where nothing is written; choose another --output"
            )
    found = [file for path in request.inputs for file in images.find(path, request.recursive)]
    return list(dict.fromkeys(found))


def split_off(photo: Photo) -> tuple[Photo, Photo]:
    """A photo in two: the upper two thirds to learn from, the rest to check on. Raises UserError if it is too small."""
    height, width = photo.pixels.shape[:2]
    cut = 2 * height // 3
    if height - cut < LEAST_SIDE:
        raise UserError(
            f"{photo.name}: {width} x {height} pixels are too few to learn from and to check on; give more photos, or "
            f"one of at least {3 * LEAST_SIDE} pixels down"
        )
    part = lambda rows, name: Photo.of(name, np.ascontiguousarray(rows), photo.iso)
    return part(photo.pixels[:cut], photo.name), part(photo.pixels[cut:], f"{photo.name}, below")


@dataclasses.dataclass(frozen=True)
class Measured:
    """Photos to learn from, with the noise of those where it is known, and photos to check on with theirs."""

    photos: list[Photo]
    profiles: list[NoiseProfile]
    aside: list[tuple[Photo, NoiseProfile]]


def measure_photos(photos: Sequence[Photo], where: str) -> Measured:
    """Measure the noise and keep photos aside. Raises UserError if there is no noise, or it cannot be measured."""
    photos = list(photos)
    few = len(photos) < 4
    lower = None
    if few:
        largest = max(range(len(photos)), key=lambda i: photos[i].pixels.size)
        photos[largest], lower = split_off(photos[largest])
    profiles = measure_camera(photos)
    if len(profiles) < LEAST_SHARE * len(photos):
        raise UserError(
            f"{where}: no noise that can be told from texture: the photos are clean, or have too few smooth parts "
            "(sky, walls, blurred background); use --task denoising, or add photos that have some"
        )
    typical = float(np.median([level(profile) for profile in profiles]))
    if typical < LEAST_LEVEL:
        raise UserError(
            f"{where}: no noise to learn from (sigma {typical:.1f} of 255 in smooth parts); drawings and clean photos "
            "need no weights of their own, use --task denoising"
        )
    if lower is not None:
        own = measure([lower])
        return Measured(photos, profiles, [(lower, own[0] if own else profiles[0])])
    by_name = {photo.name: photo for photo in photos}
    aside = evenly(profiles, min(MOST_ASIDE, max(1, len(profiles) // 4)))
    names = {profile.name for profile in aside}
    return Measured(
        [photo for photo in photos if photo.name not in names],
        [profile for profile in profiles if profile.name not in names] or aside,
        [(by_name[profile.name], profile) for profile in aside],
    )


def restore_all(restorer: Restorer, pictures: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
    """Restored pictures in their order, as many at a time as there are devices."""
    free: queue.SimpleQueue[Restorer] = queue.SimpleQueue()
    for each in restorer.on_each_device():
        free.put(each)

    def one(picture: np.ndarray) -> np.ndarray:
        mine = free.get()
        try:
            return mine(picture)
        finally:
            free.put(mine)

    with ThreadPoolExecutor(len(restorer.devices)) as pool:
        yield from pool.map(one, pictures)


def prepare(request: Request, workdir: Workdir, restorer: Restorer, begun: float, say: Say) -> dict[str, Any]:
    """Measure, keep aside, make clean pictures, and write all of it; the plan comes last. Raises UserError."""
    where = str(request.inputs[0])
    paths = find_photos(request)
    photos = read_photos(paths, say)
    if not photos:
        raise UserError(
            f"{where}: no photo that noise can be measured in; give photos of at least {LEAST_SIDE} pixels a side"
        )
    say(f"{len(photos)} photos are looked at, of {len(paths)} files")
    measured = measure_photos(photos, where)
    for line in words.describe(measured.profiles):
        say(line)
    workdir.write_aside(
        [middle(photo.pixels, ASIDE_SIDE) for photo, _ in measured.aside], [p for _, p in measured.aside]
    )
    workdir.write_text(workdir.noise, profiles_text(measured.profiles))

    known = {profile.name: profile for profile in measured.profiles}
    typical = sorted(measured.profiles, key=level)[len(measured.profiles) // 2]
    pixels = lambda photo: middle(photo.pixels, LARGEST_PART).size // 3
    most = max(1, RESTORED_PIXELS // max(map(pixels, measured.photos)))
    chosen = evenly(measured.photos, most)
    parts = [middle(photo.pixels, LARGEST_PART) for photo in chosen]
    started = time.monotonic()
    made, done = [], 0
    with contextlib.closing(restore_all(restorer, parts)) as restored:
        for photo, picture in zip(chosen, restored, strict=True):
            small = clean_picture(picture, factor_for(known.get(photo.name, typical)))
            made += [] if small is None else [small]
            done += pixels(photo)
            if request.minutes and time.monotonic() - begun > RESTORING_SHARE * 60 * request.minutes:
                break  # the others are cancelled: training needs the time more
    seconds = time.monotonic() - started
    say(f"clean pictures to add that noise to: {len(made)} of these photos, {len(shipped_pictures())} of the package")
    workdir.write_pictures(workdir.clean, [*shipped_pictures(), *made])
    plan = {
        "request": request.identity(),
        "dtype": restorer.options.dtype,
        "seconds": time.monotonic() - begun,
        "seconds_a_pixel": seconds / max(1, done),
        "files": len(paths),
        "photos": len(photos),
        "words": words.describe(measured.profiles),
    }
    workdir.write_text(workdir.plan, json.dumps(plan, indent=2) + "\n")
    return plan

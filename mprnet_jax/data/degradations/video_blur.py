"""Blur as in frames of a video: sharp frames along a camera's path, with things that move by themselves, averaged.

GoPro's set (Nah et al., CVPR 2017) averages 7 to 13 frames at 240 Hz, and its truth is the frame in their middle. In
those 50 ms a camera hardly changes its speed, so that frame is where the mean of the path is; on paths whose speed
changes it lies beside it (here by 1.5 pixels in the median, for 20 pixels), which nothing in the blurred frame tells: a
network trained on such truths learns to blur. So the truth is the picture at the mean of the path.
"""

import dataclasses
import math
from types import ModuleType

import numpy as np
from scipy import ndimage

from mprnet_jax.data.degradations.base import Degradation, Degraded
from mprnet_jax.data.degradations.linear_light import convolve, to_linear, to_stored
from mprnet_jax.data.degradations.motion_blur import draw_trajectory
from mprnet_jax.support.optional_imports import import_extra

MASK_SCALE = (12.0, 32.0)  # pixels, sigma of the noise that a moving layer's outline is cut from
MASK_AREA = (0.1, 0.45)  # of the picture
FRAMES = (7, 33)


def disc_kernel(radius: float) -> np.ndarray:
    """A disc with a soft edge of a pixel, of sum 1; K K, K odd."""
    reach = math.ceil(radius)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disc = np.clip(radius + 0.5 - np.hypot(y, x), 0, 1)
    return disc / disc.sum()


def blob(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """A random smooth outline: H W float32, 1 inside, 0 outside, a pixel or two between."""
    field = ndimage.gaussian_filter(
        rng.standard_normal((height, width), np.float32), rng.uniform(*MASK_SCALE), mode="wrap", truncate=2.5
    )
    level = np.quantile(field, 1 - rng.uniform(*MASK_AREA))
    steepness = np.abs(np.gradient(field)).mean() * 2
    return np.clip((field - level) / max(float(steepness), 1e-9) + 0.5, 0, 1).astype(np.float32)


def over(layers: list[np.ndarray]) -> np.ndarray:
    """A picture H W 3 with layers over it, H W 4: their colours, and their outlines from 0 to 1."""
    picture, *rest = layers
    for layer in rest:
        picture = picture + layer[..., 3:] * (layer[..., :3] - picture)
    return picture


@dataclasses.dataclass(frozen=True)
class VideoBlur(Degradation):
    """Frames along a path of shift, roll, zoom and tilt, averaged; in a share of the crops layers move on their own.

    The target is the picture, and each layer, at the mean of its path.
    """

    size: tuple[float, float] = (3.0, 40.0)  # pixels that the middle of the crop moves: drawn uniformly, as all others
    turn: tuple[float, float] = (0.0, 1.5)  # radians that the direction drifts
    roll: tuple[float, float] = (0.0, 2.0)  # degrees over the whole path
    zoom: tuple[float, float] = (0.0, 0.03)  # change of scale over the whole path
    tilt: tuple[float, float] = (0.0, 5e-5)  # of the homography's last row, over the whole path
    layers_share: float = 0.5  # probability of one to three layers that move by themselves
    layers: tuple[int, int] = (1, 3)
    defocus_share: float = 0.1  # probability that the picture is out of focus, too
    defocus: tuple[float, float] = (1.0, 5.0)  # pixels, radius
    stored_share: float = 0.5  # probability that stored values are averaged, as sets are made, instead of light

    @property
    def margin(self) -> int:
        """Pixels around a crop that its motion and defocus bring into it."""
        return math.ceil(self.size[1] + self.defocus[1])

    def apply(self, pair: Degraded, rng: np.random.Generator) -> Degraded:
        """The mean of the frames as input; as target the frame in their middle."""
        cv2 = import_extra("cv2", "opencv-python-headless", "blur")
        stored = rng.random() < self.stored_share
        values = (lambda image: image / np.float32(255)) if stored else to_linear
        size = rng.uniform(*self.size)
        frames = int(np.clip(1.2 * size, *FRAMES)) // 2 * 2 + 1
        picture = values(pair.input)
        height, width = picture.shape[:2]
        moving = [(picture, self._path(size, frames, height, width, rng))]
        if rng.random() < self.layers_share:
            for _ in range(rng.integers(*self.layers, endpoint=True)):
                texture = np.roll(picture[::-1, ::-1], rng.integers(height, size=2), axis=(0, 1))
                path = self._path(rng.uniform(0, self.size[1]), frames, height, width, rng)
                moving.append((np.dstack((texture, blob(height, width, rng))), path))
        blurred = sum(self._frame(cv2, moving, i) for i in range(frames)) / np.float32(frames)
        if rng.random() < self.defocus_share:
            kernel = disc_kernel(rng.uniform(*self.defocus))
            reach = len(kernel) // 2
            blurred = convolve(np.pad(blurred, ((reach, reach), (reach, reach), (0, 0)), mode="symmetric"), kernel)
        to_bytes = (lambda image: np.rint(np.clip(255 * image, 0, 255)).astype(np.uint8)) if stored else to_stored
        target = pair.target if len(moving) == 1 else to_bytes(over([layer for layer, _ in moving]))
        return Degraded(to_bytes(blurred), target)

    def _path(self, size: float, frames: int, height: int, width: int, rng: np.random.Generator) -> np.ndarray:
        """A homography (3 x 3, of pixel coordinates x, y) for each frame; their mean leaves the middle where it is."""
        path = draw_trajectory(rng.uniform(*self.turn), rng) * size / 2
        path = path[np.linspace(0, len(path) - 1, frames).round().astype(int)]
        path -= path.mean(axis=0)
        time = np.linspace(-0.5, 0.5, frames)
        signed = lambda bounds: rng.uniform(*bounds) * rng.choice((-1, 1))
        roll, zoom = math.radians(signed(self.roll)), signed(self.zoom)
        tilt = signed(self.tilt), signed(self.tilt)
        matrices = np.zeros((frames, 3, 3))
        cos, sin = (1 + zoom * time) * np.cos(roll * time), (1 + zoom * time) * np.sin(roll * time)
        matrices[:, 0, 0], matrices[:, 0, 1], matrices[:, 0, 2] = cos, -sin, path[:, 1]
        matrices[:, 1, 0], matrices[:, 1, 1], matrices[:, 1, 2] = sin, cos, path[:, 0]
        matrices[:, 2, 0], matrices[:, 2, 1], matrices[:, 2, 2] = tilt[0] * time, tilt[1] * time, 1
        centre = np.array([[1, 0, (width - 1) / 2], [0, 1, (height - 1) / 2], [0, 0, 1]])
        return centre @ matrices @ np.linalg.inv(centre)

    @staticmethod
    def _frame(cv2: ModuleType, moving: list, i: int) -> np.ndarray:
        """The layers over each other at one time, as `over` takes them."""
        warp = lambda image, matrix: cv2.warpPerspective(
            image, matrix, image.shape[1::-1], flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
        )
        return over([warp(layer, path[i]) for layer, path in moving])

"""Noise as a camera's file has it: counted photons and read noise in the raw mosaic, then the camera's processing.

The picture is taken back to linear raw values ("unprocessing": Brooks et al., CVPR 2019), noise is added to the Bayer
mosaic, and what the camera does to a picture is done to it: demosaicing, white balance, colour matrix, tone curve,
smoothing of the colours, resizing. Only the noise takes that way: what is added to the picture is the difference of
the processed noisy and the processed clean picture, so that colours, tones and edges of the target stay as they are.
"""

import dataclasses
import functools
import math

import numpy as np
from scipy import ndimage

from mprnet_jax.data.degradations.base import Degradation, Degraded
from mprnet_jax.data.degradations.linear_light import LINEAR

BILINEAR = (  # of the own colour at the places of a mosaic: red or blue, and green
    np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]], np.float32) / 4,
    np.array([[0, 1, 0], [1, 4, 1], [0, 1, 0]], np.float32) / 4,
)
# Malvar, He, Cutler, ICASSP 2004: what the other colours of the mosaic add, for green at red or blue places, and for
# red or blue at green places of the same row, of the same column, and at the other's places; times 8.
MALVAR_GREEN = [[0, 0, -1, 0, 0], [0, 0, 2, 0, 0], [-1, 2, 4, 2, -1], [0, 0, 2, 0, 0], [0, 0, -1, 0, 0]]
MALVAR_ROW = [[0, 0, 0.5, 0, 0], [0, -1, 0, -1, 0], [-1, 4, 5, 4, -1], [0, -1, 0, -1, 0], [0, 0, 0.5, 0, 0]]
MALVAR_OTHER = [[0, 0, -1.5, 0, 0], [0, 2, 0, 2, 0], [-1.5, 0, 6, 0, -1.5], [0, 2, 0, 2, 0], [0, 0, -1.5, 0, 0]]
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # BT.601
BLOTCHES = 3.0  # times as wide: the second, slower part of the colours' noise, which cameras leave in


@functools.cache
def _curve(contrast: bool) -> np.ndarray:
    """Stored values of linear light 0..1 in 4,096 steps: sRGB, or with a contrast curve (3 x^2 - 2 x^3) after it."""
    light = np.linspace(0, 1, 4096)
    stored = np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 1e-6) ** (1 / 2.4) - 0.055)
    return (3 * stored**2 - 2 * stored**3 if contrast else stored).astype(np.float32)


@functools.cache
def _inverse_curve(contrast: bool) -> np.ndarray:
    """Linear light of each 8-bit value."""
    if not contrast:
        return LINEAR
    return np.interp(np.arange(256) / 255, _curve(True), np.linspace(0, 1, 4096)).astype(np.float32)


def to_curve(light: np.ndarray, contrast: bool) -> np.ndarray:
    """Linear light, clipped to [0, 1], -> stored values in [0, 1]."""
    places = np.clip(light, 0, 1) * np.float32(4095)
    return _curve(contrast)[np.rint(places).astype(np.int32)]


def mosaic_masks(height: int, width: int, phase: int) -> np.ndarray:
    """3 H W: 1 where a Bayer mosaic has red, green, blue; phase 0..3 is where in the 2 x 2 cell red lies."""
    rows, columns = np.ogrid[:height, :width]
    rows, columns = rows + phase // 2, columns + phase % 2
    red = (rows % 2 == 0) & (columns % 2 == 0)
    blue = (rows % 2 == 1) & (columns % 2 == 1)
    return np.stack((red, ~red & ~blue, blue)).astype(np.float32)


def demosaic(mosaic: np.ndarray, masks: np.ndarray, malvar: bool) -> np.ndarray:
    """H W mosaic -> 3 H W, bilinear or by Malvar's 5 x 5 filters. Linear in the mosaic."""
    kernels = (BILINEAR[0], BILINEAR[1], BILINEAR[0])
    if not malvar:
        return np.stack([ndimage.convolve(mosaic * m, k, mode="mirror") for m, k in zip(masks, kernels, strict=True)])
    filtered = lambda kernel: ndimage.convolve(mosaic, np.array(kernel, np.float32) / 8, mode="mirror")
    red, green, blue = masks
    other = filtered(MALVAR_OTHER)
    along_row, along_column = filtered(MALVAR_ROW), filtered(np.transpose(MALVAR_ROW))
    red_rows = np.maximum(red, np.roll(red, 1, axis=1))  # rows that hold red; the others hold blue
    at_green = lambda rows: green * (rows * along_row + (1 - rows) * along_column)
    return np.stack(
        (
            red * mosaic + blue * other + at_green(red_rows),
            green * mosaic + (1 - green) * filtered(MALVAR_GREEN),
            blue * mosaic + red * other + at_green(1 - red_rows),
        )
    )


def colour_matrix(strength: float, rng: np.random.Generator) -> np.ndarray:
    """Camera colours -> sRGB, 3 x 3, rows that sum to 1; `strength` is the mean size of what is off the diagonal."""
    matrix = -strength * rng.uniform(0.3, 1.7, (3, 3))
    np.fill_diagonal(matrix, 0)
    np.fill_diagonal(matrix, 1 - matrix.sum(axis=1))
    return matrix.astype(np.float32)


def resized(planes: np.ndarray, height: int, width: int) -> np.ndarray:
    """3 H W -> 3 height width: linear, after a Gaussian where it shrinks (against aliases)."""
    factor = planes.shape[1] / height
    if factor > 1:
        planes = np.stack([ndimage.gaussian_filter(p, 0.35 * factor, mode="mirror") for p in planes])
    if planes.shape[1:] == (height, width):
        return planes
    place = lambda count, size: np.clip((np.arange(count) + 0.5) * (size / count) - 0.5, 0, size - 1)
    rows, columns = place(height, planes.shape[1]), place(width, planes.shape[2])
    grid = np.meshgrid(rows, columns, indexing="ij")
    return np.stack([ndimage.map_coordinates(p, grid, order=1, mode="nearest") for p in planes])


@dataclasses.dataclass(frozen=True)
class CameraNoise(Degradation):
    """Noise of a sensor through a camera's processing; `scale` above 1 makes it coarse, as film grain is.

    Light x in [0, 1] has the variance x / photons + (read_noise / photons)^2. Ranges that are drawn uniformly in the
    logarithm are said to be so; all others are drawn uniformly. Where the ranges are from: measured sensors from
    ISO 400 to 51,200, phones at their lower end.
    """

    photons: tuple[float, float] = (200.0, 50_000.0)  # that make white on the sensor; logarithm
    read_noise: tuple[float, float] = (1.0, 20.0)  # standard deviation, in photons; logarithm
    push: tuple[float, float] = (1.0, 8.0)  # times that too little light was brightened; logarithm
    gain: tuple[float, float] = (1.2, 2.4)  # of red and of blue in the white balance
    matrix: tuple[float, float] = (0.1, 0.35)  # what the colour matrix has off its diagonal
    contrast_share: float = 0.5  # probability of a contrast curve on top of sRGB's
    malvar_share: float = 0.5  # probability of Malvar's demosaicing; bilinear else
    smoothing: tuple[float, float] = (0.3, 1.6)  # pixels, sigma of the camera's smoothing of its colours' noise
    luma_smoothing: tuple[float, float] = (0.6, 0.6)  # of the luma's noise, as a part of the colours'
    blotches: tuple[float, float] = (0.1, 0.6)  # part of the colours' noise that is three times as wide again
    colours: tuple[float, float] = (0.3, 0.9)  # of the colours' noise that the camera leaves
    scale: tuple[float, float] = (0.6, 1.2)  # size of the file's picture by the sensor's; logarithm

    def apply(self, pair: Degraded, rng: np.random.Generator) -> Degraded:
        """Noise added to the input, clipped and rounded."""
        noise = self.noise(pair.input, rng)
        return pair._replace(input=np.rint(np.clip(pair.input + 255 * noise, 0, 255)).astype(np.uint8))

    def noise(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """What the noise adds to an H W 3 uint8 picture: H W 3 float32, in parts of white."""
        logarithmic = lambda bounds: math.exp(rng.uniform(*np.log(bounds)))
        photons = logarithmic(self.photons) / logarithmic(self.push)
        read_noise = logarithmic(self.read_noise)
        contrast, malvar = rng.random() < self.contrast_share, rng.random() < self.malvar_share
        gains = np.array([rng.uniform(*self.gain), 1, rng.uniform(*self.gain)], np.float32)[:, None, None]
        matrix = colour_matrix(rng.uniform(*self.matrix), rng)
        height, width = image.shape[:2]
        scale = logarithmic(self.scale)

        light = np.moveaxis(_inverse_curve(contrast)[image], 2, 0)
        sensor = [max(2, round(side / scale)) for side in (height, width)]
        light = resized(light, *sensor)
        raw = np.tensordot(np.linalg.inv(matrix), light, 1) / gains
        masks = mosaic_masks(*sensor, int(rng.integers(4)))
        seen = np.maximum((raw * masks).sum(axis=0), 0)
        counted = rng.poisson(photons * seen) + read_noise * rng.standard_normal(sensor, np.float32)
        noise = demosaic((counted / photons - seen).astype(np.float32), masks, malvar)
        noisy_light = light + np.tensordot(matrix, gains * noise, 1)
        added = to_curve(noisy_light, contrast) - to_curve(light, contrast)
        return np.moveaxis(resized(self._smoothed(added, rng), height, width), 0, 2)

    def _smoothed(self, noise: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Luma a little smoother, and chroma much: cameras take out fine noise of colours, and leave blotches."""
        bounds = (self.smoothing, self.luma_smoothing, self.blotches, self.colours)
        sigma, luma_smoothing, blotches, colours = (rng.uniform(*drawn) for drawn in bounds)
        luma = np.tensordot(LUMA, noise, 1)
        chroma = noise - luma
        smooth = lambda plane, s: ndimage.gaussian_filter(plane, s, mode="wrap")  # wrap: as strong at the borders
        luma = smooth(luma, luma_smoothing * sigma)
        wide = np.stack([smooth(plane, BLOTCHES * sigma) for plane in chroma])
        chroma = np.stack([smooth(plane, sigma) for plane in chroma])
        return luma + colours * ((1 - blotches) * chroma + 2 * blotches * wide)


# Strength and grain as measured on genuine pairs (standard deviation of 255; correlation with the pixel 1, 2 and 3
# away): three DSLRs at ISO 1,600 to 6,400 (Nam et al., CVPR 2016; 5.4; 0.69 0.33 0.18), phones in low light (SIDD;
# Abdelhamed et al., CVPR 2018; 19; 0.46 0.07 0.01).
DSLR = CameraNoise(photons=(200.0, 20_000.0), blotches=(0.2, 0.8))
# The same DSLRs, luma and colours apart: luma correlates 0.55 and 0.12 with the pixel 1 and 2 away, Cb and Cr 0.88,
# 0.73 and 0.37 with those 1, 2 and 4 away. Cameras smooth colours over 2 pixels and leave luma as demosaicing made it.
SMOOTH_COLOURS = CameraNoise(
    photons=(500.0, 10_000.0),
    push=(1.0, 5.0),
    smoothing=(0.9, 2.2),
    luma_smoothing=(0.1, 0.35),
    blotches=(0.0, 0.3),
    colours=(0.6, 1.3),
    scale=(0.7, 1.05),
    malvar_share=0.7,
)
PHONE = CameraNoise(
    photons=(100.0, 600.0),
    push=(1.0, 3.0),
    smoothing=(0.2, 0.45),
    blotches=(0.0, 0.1),
    colours=(0.3, 0.7),
    scale=(0.5, 0.8),
)

"""The noise of photos, measured in their smooth patches: strength by brightness, and covariance in space and colour.

Medians and trimmed means over patches stand for means: an edge or a texture in some of them does not count. What taking
out a patch's plane does to its covariance is linear in the true covariance, so it is taken back, by a linear system.
"""

import functools
from collections.abc import Sequence

import numpy as np
from scipy import ndimage, stats

from mprnet_jax.adapting.patches import SIDE, plane_basis
from mprnet_jax.adapting.photos import Photo
from mprnet_jax.data.degradations.camera_noise import LUMA
from mprnet_jax.data.degradations.measured_noise import LEVELS, REACH, NoiseProfile

LAGS = 2 * REACH + 1
LEAST_PATCHES = 6  # of a photo whose noise is measured
FADES_FROM = 4  # pixels: farther correlations are measured less well, and fade to 0 beyond REACH
SHRINK = 4  # patches that a bin of the brightness needs to count as much as its neighbours do together
ROUNDS = 3
TRIMMED = 0.2  # of the patches, at each end
LARGEST_SPREAD = 2.2  # of the variance of patches, between their quantiles 0.15 and 0.85
FAR, LARGEST_FAR = 4, 0.2  # pixels, and the correlation of luma there
EDGES_COUNT = 1.2  # times the median variance: above, some of the patches hold edges


@functools.cache
def detrending() -> np.ndarray:
    """LAGS^2 x LAGS^2: from the covariance of noise to the mean covariance of patches without their plane.

    With P = 1 - B B' (B the plane's orthonormal basis) and S_m the shift by m, a patch's mean product at lag l is
    expected to be sum_m c(m) tr(S_l' P S_m P) / (pairs at lag l).
    """
    basis = plane_basis().reshape(SIDE, SIDE, 3)
    lags = [(row, column) for row in range(-REACH, REACH + 1) for column in range(-REACH, REACH + 1)]

    def shifted(row: int, column: int) -> np.ndarray:
        moved = np.zeros_like(basis)
        to = (slice(max(0, -row), SIDE - max(0, row)), slice(max(0, -column), SIDE - max(0, column)))
        of = (slice(max(0, row), SIDE - max(0, -row)), slice(max(0, column), SIDE - max(0, -column)))
        moved[to] = basis[of]
        return moved.reshape(-1, 3)

    flat = basis.reshape(-1, 3)
    moves = np.stack([shifted(*lag) for lag in lags])  # S_m B
    back = np.stack([shifted(-row, -column) for row, column in lags])  # S_m' B
    small = np.einsum("pi,mpj->mij", flat, moves)  # B' S_m B
    pairs = np.array([(SIDE - abs(row)) * (SIDE - abs(column)) for row, column in lags], float)
    product = lambda a: np.tensordot(a, a, axes=([1, 2], [1, 2]))
    return (np.diag(pairs) - product(moves) - product(back) + product(small)) / pairs[:, None]


def covariances(noise: np.ndarray) -> np.ndarray:
    """N SIDE SIDE 3 -> N LAGS LAGS 3 3: at [row, column, a, b] the mean of noise_a(p) noise_b(p + lag)."""
    size = 2 * SIDE
    spectrum = np.fft.rfft2(noise, (size, size), axes=(1, 2))
    result = np.empty((len(noise), LAGS, LAGS, 3, 3), np.float32)
    near = np.arange(-REACH, REACH + 1)
    pairs = (SIDE - np.abs(near))[:, None] * (SIDE - np.abs(near))
    for a in range(3):
        for b in range(3):
            products = np.fft.irfft2(spectrum[..., a].conj() * spectrum[..., b], (size, size), axes=(1, 2))
            result[..., a, b] = products[:, near[:, None], near] / pairs
    return result


def typical(of_patches: np.ndarray) -> np.ndarray:
    """The covariance of most patches, from that of each, N LAGS LAGS 3 3.

    The median of skewed values lies a little below their mean; so where edges are few, the trimmed mean is taken.
    """
    median = np.median(of_patches, axis=0)
    trimmed = stats.trim_mean(of_patches, TRIMMED, axis=0)
    variance = lambda covariance: np.trace(covariance[REACH, REACH])
    return trimmed if variance(trimmed) <= EDGES_COUNT * variance(median) else median


def true_covariance(measured: np.ndarray) -> np.ndarray:
    """LAGS LAGS 3 3 of patches without their plane -> of the noise itself, faded out towards REACH."""
    solved = np.linalg.solve(detrending(), measured.reshape(LAGS * LAGS, 9)).reshape(LAGS, LAGS, 3, 3)
    solved = (solved + solved[::-1, ::-1].swapaxes(-1, -2)) / 2  # c_ab(l) = c_ba(-l)
    near = np.arange(-REACH, REACH + 1)
    distance = np.maximum(np.abs(near)[:, None], np.abs(near))
    fade = np.clip((distance - FADES_FROM) / (REACH + 1 - FADES_FROM), 0, 1)
    return solved * (0.5 + 0.5 * np.cos(np.pi * fade))[..., None, None]


def brightness_curve(photos: Sequence[Photo]) -> tuple[np.ndarray, np.ndarray]:
    """Standard deviation at LEVELS of each colour, 3 x len(LEVELS), up to a factor of each photo; and those factors.

    Alternately the median of each brightness over all photos, and of each photo over its patches.
    """
    logs = [0.5 * np.log(photo.noise.var(axis=(1, 2)) + 1e-3) for photo in photos]
    means = [photo.means for photo in photos]
    factors = np.array([np.median(each) for each in logs])
    curve = np.zeros((3, len(LEVELS)))
    for _ in range(ROUNDS):
        for colour in range(3):
            values = np.concatenate([log[:, colour] - f for log, f in zip(logs, factors, strict=True)])
            bins = np.rint(np.concatenate([m[:, colour] for m in means]) / (LEVELS[1] - LEVELS[0])).astype(int)
            curve[colour] = _smooth_medians(values, bins)
        at = lambda m: np.stack([np.interp(m[:, c], LEVELS, curve[c]) for c in range(3)], axis=-1)
        factors = np.array([np.median(log - at(m)) for log, m in zip(logs, means, strict=True)])
    return np.exp(curve), np.exp(factors)


def _smooth_medians(values: np.ndarray, bins: np.ndarray) -> np.ndarray:
    """The median of each bin, drawn to its neighbours' where it has few values; of empty ones, that of the nearest."""
    count = np.bincount(bins, minlength=len(LEVELS)).astype(float)
    median = np.array([np.median(values[bins == k]) if count[k] else 0.0 for k in range(len(LEVELS))])
    known = np.flatnonzero(count)
    filled = np.interp(np.arange(len(LEVELS)), known, median[known])
    weight = count + 1e-3
    near = ndimage.gaussian_filter1d(filled * weight, 1, mode="nearest") / ndimage.gaussian_filter1d(
        weight, 1, mode="nearest"
    )
    return (filled * count + near * SHRINK) / (count + SHRINK)


def measure(photos: Sequence[Photo]) -> list[NoiseProfile]:
    """The noise of each photo that has enough smooth patches.

    Photos share the shape of the curve over the brightness: one alone seldom has all of them.
    """
    photos = [photo for photo in photos if len(photo.noise) >= LEAST_PATCHES]
    if not photos:
        return []
    curve, factors = brightness_curve(photos)
    profiles = []
    for photo, factor in zip(photos, factors, strict=True):
        at = np.stack([np.interp(photo.means[:, c], LEVELS, curve[c]) for c in range(3)], axis=-1)
        unit = photo.noise / (factor * at)[:, None, None].astype(np.float32)
        covariance = true_covariance(typical(covariances(unit)))
        spread = np.sqrt(np.maximum(np.diag(covariance[REACH, REACH]), 1e-6))
        covariance = covariance / (spread[:, None] * spread)
        sigma = factor * curve * spread[:, None]
        profiles.append(NoiseProfile(sigma.astype(np.float32), covariance.astype(np.float32), photo.name, photo.iso))
    return profiles


def measure_camera(photos: Sequence[Photo]) -> list[NoiseProfile]:
    """The noise of the photos in which it can be told from texture: measured in all, and again in those."""
    by_name = {photo.name: photo for photo in photos}
    plain = [by_name[p.name] for p in measure(photos) if is_noise(by_name[p.name], p)]
    return [profile for profile in measure(plain) if is_noise(by_name[profile.name], profile)]


def is_noise(photo: Photo, profile: NoiseProfile) -> bool:
    """Whether what was measured in a photo is noise: alike in all its smooth patches, and short in luma.

    Clean photographs and the genuine noise of cameras and phones differ in both, and the limits lie between them:
    texture and shading have patches of many strengths, and a correlation that reaches far.
    """
    expected = [np.interp(photo.means[:, c], LEVELS, profile.sigma[c]) ** 2 for c in range(3)]
    ratio = photo.noise.var(axis=(1, 2)).mean(axis=-1) / np.mean(expected, axis=0)
    weak, strong = np.quantile(ratio, (0.15, 0.85))
    return bool(strong <= LARGEST_SPREAD * weak) and correlation(profile, FAR, LUMA) <= LARGEST_FAR


def level(profile: NoiseProfile) -> float:
    """Standard deviation of 255 in the middle of the brightness, mean of the colours."""
    return float(np.sqrt((profile.sigma[:, len(LEVELS) // 4 : 3 * len(LEVELS) // 4] ** 2).mean()))


def correlation(profile: NoiseProfile, distance: int, weights: np.ndarray | None = None) -> float:
    """Of pixels so far apart, mean of across and down; of a weighted sum of the colours, or the mean of the three."""
    if weights is None:
        at = lambda row, column: float(np.trace(profile.covariance[REACH + row, REACH + column]))
    else:
        at = lambda row, column: float(weights @ profile.covariance[REACH + row, REACH + column] @ weights)
    return (at(distance, 0) + at(0, distance)) / (2 * at(0, 0))

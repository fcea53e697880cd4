"""What was measured, in words: how strong the noise is, and how coarse."""

from collections.abc import Sequence

import numpy as np

from mprnet_jax.adapting.noise_model import correlation, level
from mprnet_jax.data.degradations.camera_noise import LUMA
from mprnet_jax.data.degradations.measured_noise import LEVELS, REACH, NoiseProfile

RED_GREEN = np.array([1.0, -1.0, 0.0], np.float32)  # weights of the colours, whose sum is chroma alone
BLUE_YELLOW = np.array([-0.5, -0.5, 1.0], np.float32)
MIXED = 2.5  # times the weakest noise: above, photos are said to differ


def size(profile: NoiseProfile, weights: np.ndarray) -> float:
    """Pixels across of what looks like one grain: twice the distance at which the correlation falls to a half."""
    values = np.array([1.0, *(correlation(profile, distance, weights) for distance in range(1, REACH + 1))])
    below = int(np.argmax(values < 0.5)) if (values < 0.5).any() else REACH
    before, after = values[below - 1], values[below]
    return 2 * (below - 1 + float(np.clip((before - 0.5) / max(before - after, 1e-6), 0, 1)))


def between_colours(profile: NoiseProfile) -> float:
    """Mean correlation of two colours at the same pixel."""
    here = profile.covariance[REACH, REACH]
    return float((here[0, 1] + here[0, 2] + here[1, 2]) / 3)


def by_iso(profiles: Sequence[NoiseProfile]) -> dict[int | None, list[NoiseProfile]]:
    """The profiles by what their files say of the setting, weakest first, None last."""
    settings = sorted({profile.iso for profile in profiles}, key=lambda iso: (iso is None, iso or 0))
    return {iso: [profile for profile in profiles if profile.iso == iso] for iso in settings}


def describe(profiles: Sequence[NoiseProfile]) -> list[str]:
    """A line for each ISO setting: sigma, grain, blotches, where it is strongest, and how alike the colours are."""
    lines = []
    for iso, group in by_iso(profiles).items():
        median = lambda value, group=group: float(np.median([value(profile) for profile in group]))
        curve = np.median([profile.sigma.mean(axis=0) for profile in group], axis=0)
        strongest = LEVELS[1 + int(np.argmax(curve[1:-1]))]
        where = "the shadows" if strongest < 86 else "the middle tones" if strongest < 171 else "the lights"
        blotches = median(lambda profile: max(size(profile, RED_GREEN), size(profile, BLUE_YELLOW)))
        lines.append(
            f"{f'ISO {iso}' if iso else 'noise'}: sigma {median(level):.1f} of 255, strongest in {where}; grain of "
            f"{median(lambda profile: size(profile, LUMA)):.1f} px, blotches of colour of {blotches:.1f} px; colours "
            f"correlated {median(between_colours):.2f} ({len(group)} photo{'' if len(group) == 1 else 's'})"
        )
    levels = [level(profile) for profile in profiles]
    if max(levels) > MIXED * min(levels):
        lines.append(
            f"the photos differ: sigma {min(levels):.1f} to {max(levels):.1f}; all of it is learnt, and a folder for "
            "each camera and setting would be better"
        )
    return lines

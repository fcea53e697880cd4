"""The page of an adaptation: what the noise is like, what came of it, and photos before and after."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mprnet_jax.adapting import words
from mprnet_jax.adapting.check import Verdict
from mprnet_jax.adapting.noise_model import correlation
from mprnet_jax.data.degradations.camera_noise import LUMA
from mprnet_jax.data.degradations.measured_noise import LEVELS, REACH, NoiseProfile
from mprnet_jax.reports import pages, pictures, svg_plots

SHOWN = 3  # photos


def render(
    plan: dict[str, Any], profiles: Sequence[NoiseProfile], verdict: Verdict, shown: Sequence[dict[str, np.ndarray]]
) -> str:
    """The page. `shown`: of each photo that was kept aside, what it is -> H W 3 uint8; the last two are compared."""
    views = []
    for view in shown[:SHOWN]:
        figures = [pictures.Figure(name, pictures.data_uri(image), name) for name, image in view.items()]
        names = list(view)
        pairs = [(names[0], names[2]), (names[1], names[2]), (names[0], names[1])]
        width = max(next(iter(view.values())).shape[1], pictures.NARROWEST)
        views.append(pictures.Views(figures, [], pairs, width, 0.0, ""))
    return pages.render(
        "mprnet_jax.adapting",
        "adapted.html",
        title="Weights for your camera" if not verdict.reasons else "The shipped weights stay",
        words=plan["words"],
        reasons=verdict.reasons,
        tiles=[
            (f"{verdict.gain:+.2f} dB", "estimated gain over the shipped weights"),
            (f"{verdict.busy_gain:+.2f} dB", "of edges and texture alone"),
            (f"{verdict.noise_before:.2f} to {verdict.noise_after:.2f}", "noise left in smooth parts, sigma of 255"),
            (str(verdict.photos), f"of {plan['photos']} photos kept aside and checked on"),
        ],
        plots=[_strength(profiles), _grain(profiles)],
        views=views,
    )


def _strength(profiles: Sequence[NoiseProfile]) -> str:
    curves = np.median([profile.sigma for profile in profiles], axis=0)
    lines = dict(zip(("red", "green", "blue"), curves, strict=True))
    return svg_plots.lines(LEVELS, lines, "brightness, of 255", "sigma of the noise, of 255")


def _grain(profiles: Sequence[NoiseProfile]) -> str:
    distances = np.arange(REACH + 1)
    kinds = {"brightness": LUMA, "red against green": words.RED_GREEN, "blue against yellow": words.BLUE_YELLOW}
    at = lambda weights: [np.median([correlation(p, int(d), weights) for p in profiles]) for d in distances]
    lines = {name: np.array(at(weights)) for name, weights in kinds.items()}
    return svg_plots.lines(distances, lines, "distance in pixels", "correlation of the noise")

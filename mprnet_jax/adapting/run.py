"""An adaptation from photos to a bundle, or to a report that says why there is none."""

import dataclasses
import json
import math
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

from mprnet_jax import images
from mprnet_jax.adapting import check, report
from mprnet_jax.adapting.check import Score, Verdict
from mprnet_jax.adapting.plan import Request, Workdir
from mprnet_jax.adapting.preparing import ASIDE_SIDE, MOST_ASIDE, Say, prepare
from mprnet_jax.backends import dispatch
from mprnet_jax.checkpoints.bundle import load_bundle
from mprnet_jax.checkpoints.bundle_writer import save_bundle
from mprnet_jax.checkpoints.pretrained import bundle_path
from mprnet_jax.data.degradations.camera_noise import DSLR
from mprnet_jax.data.degradations.measured_noise import MeasuredNoise, read_profiles
from mprnet_jax.data.degradations.mixture import Chain, Mixture
from mprnet_jax.restoring import Restorer
from mprnet_jax.support.errors import UserError
from mprnet_jax.training.config import TrainConfig
from mprnet_jax.training.run import train

COMMAND = "mprnet_jax.adapt"
BATCH, PATCH = 8, 64
CHECK_SECONDS = 20  # for the check to compile its programs
CHECK_RESTORED = 4 * MOST_ASIDE * ASIDE_SIDE**2  # pixels: two weights, each on photos and on moved photos
LEAST_TRAINING = 0.25  # minutes

Views = dict[str, np.ndarray]  # what it is -> H W 3 uint8


@dataclasses.dataclass(frozen=True)
class Result:
    """What came of it."""

    verdict: Verdict
    report: Path
    bundle: Path | None  # None: the check refused the new weights


def adapt(request: Request, command: str = COMMAND, say: Say = print) -> Result | None:
    """Learn the noise of the photos that the request names, and check what came of it.

    The output folder gets bundle/ (if the check takes the new weights), report.html, noise.json, and what a run that
    was stopped goes on from. Returns None if Ctrl-C or SIGTERM stopped the training. Raises UserError for photos that
    nothing can be learnt from, an output folder of another run, and as training does.
    """
    begun = time.monotonic()
    workdir = Workdir(request.output)
    plan = workdir.read_plan(request)
    if workdir.result.exists() and plan is not None:
        content = json.loads(workdir.result.read_text(encoding="utf-8"))
        say(f"{request.output}: this run has ended")
        return Result(Verdict(**content), workdir.report, workdir.bundle if workdir.bundle.exists() else None)
    dtype = plan["dtype"] if plan else "bfloat16" if dispatch.has_onednn_convolutions() else "float32"
    shipped = Restorer.from_pretrained(request.start, dtype=dtype)
    shipped = shipped.with_options(devices=jax.local_device_count())
    if plan is None:
        plan = prepare(request, workdir, shipped, begun, say)
    trained = train(recipe(request, workdir, plan), workdir.training, command)
    if trained is None:
        return None
    say("checking the new weights on the photos that were kept aside")
    verdict, shown = judged(workdir, shipped, Restorer.from_pretrained(trained))
    taken = not verdict.reasons
    if taken and not workdir.bundle.exists():
        bundle = load_bundle(trained)
        about = {**bundle.provenance.to_json(), "source": f"adapted by {COMMAND}", "check": dataclasses.asdict(verdict)}
        save_bundle(workdir.bundle, dataclasses.replace(bundle, provenance=about))
    page = report.render(plan, read_profiles(str(workdir.noise)), verdict, shown)
    workdir.write_text(workdir.report, page)
    workdir.write_text(workdir.result, json.dumps(dataclasses.asdict(verdict)))
    return Result(verdict, workdir.report, workdir.bundle if taken else None)


def devices_that_share(cores: int) -> int:
    """How many devices, of so many cores, can share a batch."""
    return math.gcd(cores, BATCH)


def recipe(request: Request, workdir: Workdir, plan: dict[str, Any]) -> TrainConfig:
    """The fine-tuning: the noise that was measured, some of other cameras, and clean pictures that are to stay.

    Raises UserError if no time is left for it.
    """
    minutes = None
    if request.steps is None:
        kept = CHECK_SECONDS + 1.5 * CHECK_RESTORED * plan["seconds_a_pixel"]
        minutes = round(request.minutes - (plan["seconds"] + kept) / 60, 2)
        if minutes < LEAST_TRAINING:
            raise UserError(
                f"{request.minutes:g} minutes are too few: measuring took {plan['seconds']:.0f} s, and the check will "
                f"take about {kept:.0f}; give more --minutes, and another --output"
            )
    return TrainConfig(
        model=None,
        data=workdir.clean,
        data_source="clean pictures that were made of the photos",
        init_from=bundle_path(request.start),
        degradation=Mixture((MeasuredNoise(str(workdir.noise)), DSLR, Chain(())), (0.85, 0.10, 0.05)),
        minutes=minutes,
        steps=request.steps,
        schedule="steps",
        learning_rate=4e-4,
        final_learning_rate=1e-6,
        warmup_epochs=0,
        clip_norm=0.5,
        ema_decay=0.99,  # the run is short
        patch_size=PATCH,
        batch_size=BATCH,
        crops=32,
        dtype=plan["dtype"],
        validate_every=10**9,  # there is no truth
        save_every=100,
        checkpoints_kept=1,
        best_kept=0,
        log_every=20,
        seed=1,
    )


def judged(workdir: Workdir, shipped: Restorer, adapted: Restorer) -> tuple[Verdict, list[Views]]:
    """The verdict on the photos that were kept aside, and each of them before and after."""
    exact = [each.with_options(dtype="float32") for each in (shipped, adapted)]  # small differences are taken
    scores: tuple[list[Score], list[Score]] = ([], [])
    shown = []
    for photo, profile in workdir.read_aside():
        view = {"your photo": photo}
        for restorer, mine, name in zip(exact, scores, ("shipped weights", "your weights"), strict=True):
            found, restored = check.score(photo, profile, restorer)
            mine.append(found)
            view[name] = images.to_uint8(restored)
        shown.append(view)
    return check.compare(*scores), shown

"""Make a bundle that ships out of one that training wrote: half the bytes, and no path of the machine.

python tools/pack_weights.py runs/deraining/part4/bundle mprnet_jax/weights/deraining_light \\
    --command "python -m mprnet_jax.train --config configs/shipped/deraining.py --part 4"
Parameters are rounded to bfloat16, and read as float32 again; the largest change that this makes to a restored
picture is printed. `--average-with START 0.4` takes the mean of the trained parameters and, for 0.4 of it, those that
the training started from (Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022): it keeps more of what
the start could do, and most of what was learned.
"""

import argparse
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import ml_dtypes
import numpy as np

from mprnet_jax import images, metrics
from mprnet_jax.checkpoints.bundle import Bundle, load_bundle
from mprnet_jax.checkpoints.bundle_writer import save_bundle
from mprnet_jax.checkpoints.pretrained import SAMPLES, TASKS, bundle_path
from mprnet_jax.restoring.restorer import Restorer
from mprnet_jax.support.command_line import Parser
from mprnet_jax.support.errors import UserError, exit_on_user_error

PATHS = ("data", "held_out", "init_from", "validation_data")  # fields of the config


def without_folders(config: Mapping[str, Any]) -> dict[str, Any]:
    name = lambda value: [name(one) for one in value] if isinstance(value, list | tuple) else Path(value).name
    return {**config, **{field: name(config[field]) for field in PATHS if config.get(field)}}


def averaged(bundle: Bundle, start: Bundle, share: float) -> Bundle:
    """The parameters, with a share of those of a bundle of the same sizes in their mean. Raises UserError."""
    if start.config != bundle.config:
        raise UserError("--average-with: the bundles hold networks of different sizes; name the one it started from")
    mean = jax.tree.map(lambda old, new: share * old + (1 - share) * new, start.params, bundle.params)
    return dataclasses.replace(bundle, params=mean)


def pack(bundle: Bundle, command: str, licence: str, task: str | None = None) -> Bundle:
    about = bundle.provenance
    provenance = dataclasses.replace(
        about,
        command=command,
        licence=licence,
        task=task or about.task,
        config=without_folders(about.config or {}),
    )
    return Bundle(bundle.config, jax.tree.map(lambda x: x.astype(ml_dtypes.bfloat16), bundle.params), provenance)


def main() -> None:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path, help="what training wrote: bundle/ or best/ of its workdir")
    parser.add_argument("output", type=Path, help="folder of the new bundle")
    parser.add_argument("--command", required=True, help="what made the weights, for those who look")
    parser.add_argument("--task", choices=TASKS, help="what they restore [what training wrote]")
    parser.add_argument("--average-with", nargs=2, metavar=("BUNDLE", "SHARE"), help="see above; SHARE is from 0 to 1")
    parser.add_argument("--licence", default="Apache-2.0", help="[%(default)s]")
    args = parser.parse_args()
    with exit_on_user_error("pack_weights"):
        trained = load_bundle(args.bundle)
        if args.average_with:
            start, share = load_bundle(bundle_path(args.average_with[0])), float(args.average_with[1])
            trained = averaged(trained, start, share)
        save_bundle(args.output, pack(trained, args.command, args.licence, args.task))
        packed = load_bundle(args.output)
    picture = images.read(images.find(SAMPLES / "denoising" / "input")[0])
    before, after = (Restorer(b.config, b.params)(images.to_float(picture)) for b in (trained, packed))
    megabytes = sum(path.stat().st_size for path in args.output.rglob("*") if path.is_file()) / 1e6
    print(
        f"{args.output}: {megabytes:.2f} MB; a restored picture changes by {np.abs(before - after).max() * 255:.2f} "
        f"steps of 1/255 at most, {metrics.psnr(before, after, peak=1):.1f} dB PSNR"
    )


if __name__ == "__main__":
    main()

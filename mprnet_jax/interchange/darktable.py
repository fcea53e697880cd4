"""A model package for darktable's neural restore: a zip of `<id>/model.onnx` and `<id>/config.json`.

darktable feeds tiles of the developed photo, in sRGB, N C H W float32 in [0, 1], to the tensor `input` and takes
`output`. It knows one task at the size of the photo, "denoise", so deraining and deblurring weights stand there, too.
Source: src/ai and src/common/ai of darktable 5.6, and the manifests of its model zoo (darktable-org/darktable-ai).
"""

import json
import re
import zipfile
from pathlib import Path

import numpy as np

from mprnet_jax.checkpoints.bundle import Bundle
from mprnet_jax.checkpoints.provenance import Provenance
from mprnet_jax.interchange import onnx_graph
from mprnet_jax.interchange.example import version
from mprnet_jax.interchange.format import Format, Network
from mprnet_jax.model import MPRNetConfig
from mprnet_jax.support.errors import UserError
from mprnet_jax.support.optional_imports import import_extra

MODEL, MANIFEST = "model.onnx", "config.json"
INPUT, OUTPUT = "input", "output"
TASK = "denoise"  # darktable's only one that keeps the size
REMOVES = {"denoising": "noise", "deraining": "rain", "deblurring": "camera shake"}
ZIP_DATE = (1980, 1, 1, 0, 0, 0)  # the same network gives the same bytes


def manifest(provenance: Provenance, stages: int) -> dict[str, str | bool]:
    """What config.json says. The id names the folder in darktable, which a package of the same id replaces."""
    task = provenance.task or "custom"
    marks = {"official": provenance.official, f"stage{stages}": stages < 3}
    parts = ["mprnet", task, *(mark for mark, applies in marks.items() if applies)]
    name = " ".join(parts)
    licence = f"; licence: {provenance.licence}" if provenance.licence else ""
    return {
        "id": "-".join([TASK, *(re.sub(r"[^a-z0-9]+", "-", part.lower()).strip("-") for part in parts)]),
        "name": name,
        "description": f"MPRNet, takes out {REMOVES.get(task, 'what it was trained on')}{licence}",
        "task": TASK,
        "arch": "mprnet",
        "backend": "onnx",
        "version": version("mprnet_jax"),
        "tiling": True,
    }


def write(path: Path, bundle: Bundle, stages: int, every_stage: bool) -> None:
    """Write the package. Raises UserError for several outputs, of which darktable takes one, and without onnx."""
    if every_stage:
        raise UserError("darktable takes the image of one stage; leave --every-stage out")
    about = manifest(bundle.provenance, stages)
    model = onnx_graph.any_size_model(bundle.config, bundle.params, stages, INPUT, OUTPUT)
    onnx_graph.describe(model, bundle)
    contents = {MANIFEST: json.dumps(about, indent=4).encode() + b"\n", MODEL: model.SerializeToString()}
    with zipfile.ZipFile(path, "w") as package:
        for name, data in contents.items():
            package.writestr(zipfile.ZipInfo(f"{about['id']}/{name}", ZIP_DATE), data, zipfile.ZIP_DEFLATED)


def read(path: Path, _config: MPRNetConfig) -> Network:
    """The network in the package under ONNX Runtime, on the CPU. Raises UserError if that is not installed."""
    onnxruntime = import_extra("onnxruntime", "onnxruntime", "export")
    with zipfile.ZipFile(path) as package:
        (name,) = (name for name in package.namelist() if name.endswith(f"/{MODEL}"))
        session = onnxruntime.InferenceSession(package.read(name), providers=["CPUExecutionProvider"])

    def run(images: np.ndarray) -> list[np.ndarray]:
        (output,) = session.run([OUTPUT], {INPUT: np.ascontiguousarray(images.transpose(0, 3, 1, 2))})
        return [output.transpose(0, 2, 3, 1)]

    return run


FORMAT = Format(
    file="mprnet.dtmodel",
    write=write,
    read=read,
    packages=("onnxruntime",),
    imports="import zipfile\n\nimport onnxruntime",
    load=f"""\
with zipfile.ZipFile(path) as package:
    (name,) = [name for name in package.namelist() if name.endswith("{MODEL}")]
    network = onnxruntime.InferenceSession(package.read(name))""",
    restore=f"""\
restored = network.run(None, {{"{INPUT}": padded.transpose(2, 0, 1)[None]}})[0][0].transpose(1, 2, 0)""",
)

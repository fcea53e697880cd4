"""MPRNet as an ONNX graph, written from the parameters: it needs no tracing and takes images of any size.

All tensors are N C H W here, as ONNX has them. Methods carry the names of the blocks in model.py and compute the same;
patches stand on the batch axis, in another order than there.
"""

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mprnet_jax.checkpoints.bundle import Bundle
from mprnet_jax.interchange.format import Format, Network, output_names
from mprnet_jax.model import SIZE_MULTIPLE, MPRNetConfig, Params
from mprnet_jax.support.optional_imports import import_extra

if TYPE_CHECKING:
    import onnx

OPSET = 18  # the first whose Split takes a number of parts instead of their sizes
IR_VERSION = 8  # the oldest that goes with it, so that old runtimes read the file
EXTRA = "export"
INPUT = "image"
BATCH, ROWS, COLUMNS = 0, 2, 3  # axes

Pyramid = list[str]  # names of tensors at full, 1/2 and 1/4 size


def onnx_model(config: MPRNetConfig, params: Params, stages: int = 3, every_stage: bool = False) -> "onnx.ModelProto":
    """The network in ONNX: `image` (batch 3 height width, float32 in about [0, 1]) -> `stage3`, of the same shape.

    Height and width are multiples of 8; outputs are not clipped. With `stages` 1 or 2 the later stages are not in the
    graph, and the output is `stage1` or `stage2`; with `every_stage` those of the earlier stages follow it.

    Raises UserError if the onnx package is not installed.
    """
    writer = _Writer(import_extra("onnx", "onnx", EXTRA), config, params)
    names = output_names(stages, every_stage)
    for name, tensor in zip(names, writer.network(INPUT, stages), strict=False):
        writer.output(tensor, name)
    return _model(writer, INPUT, names)


def any_size_model(config: MPRNetConfig, params: Params, stages: int, source: str, result: str) -> "onnx.ModelProto":
    """As onnx_model, for images of any height and width of at least 8: `source` -> `result`, of the same size.

    The graph pads to multiples of 8 by reflection at the bottom and on the right, as Restorer does, and cuts again.
    """
    writer = _Writer(import_extra("onnx", "onnx", EXTRA), config, params)
    last = writer.network(writer.padded(source), stages)[0]
    writer.output(writer.cut(last, source), result)
    return _model(writer, source, [result])


def _model(writer: "_Writer", source: str, results: list[str]) -> "onnx.ModelProto":
    onnx = writer.onnx
    image = lambda name: onnx.helper.make_tensor_value_info(
        name, onnx.TensorProto.FLOAT, ["batch", 3, "height", "width"]
    )
    graph = onnx.helper.make_graph(
        nodes=writer.nodes,
        name="MPRNet",
        inputs=[image(source)],
        outputs=[image(name) for name in results],
        initializer=writer.initializers,
    )
    model = onnx.helper.make_model(
        graph,
        producer_name="mprnet_jax",
        ir_version=IR_VERSION,
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
    )
    onnx.checker.check_model(model, full_check=True)
    return model


class _Writer:
    """Collects the nodes of a graph. A tensor is its name, which is that of the module it comes from."""

    def __init__(self, onnx: Any, config: MPRNetConfig, params: Params) -> None:
        self.onnx, self.cfg, self.params = onnx, config, params
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        # One slope and one scale for the whole graph.
        self.slope = self.constant("act/negative_slope", np.reshape(params["act"]["negative_slope"], (1, 1, 1)))
        self.twice = self.constant("twice", np.array([1, 1, 2, 2]))

    # --- operators ---

    def constant(self, name: str, values: np.ndarray) -> str:
        array = np.ascontiguousarray(values, np.float32)
        self.initializers.append(self.onnx.numpy_helper.from_array(array, name))
        return name

    def add(self, operator: str, name: str, *inputs: str, parts: int = 1, **attributes: Any) -> list[str]:
        """Append a node; its outputs are called after it."""
        name = f"{name}/{operator}_{len(self.nodes)}"
        outputs = [name] if parts == 1 else [f"{name}/{part}" for part in range(parts)]
        self.nodes.append(self.onnx.helper.make_node(operator, inputs, outputs, name=name, **attributes))
        return outputs

    def op(self, operator: str, name: str, *inputs: str, **attributes: Any) -> str:
        return self.add(operator, name, *inputs, **attributes)[0]

    def whole_numbers(self, name: str, *values: int) -> str:
        self.initializers.append(self.onnx.numpy_helper.from_array(np.array(values, np.int64), name))
        return name

    def output(self, tensor: str, name: str) -> None:
        """Give a tensor the name of an output of the graph."""
        self.nodes.append(self.onnx.helper.make_node("Identity", [tensor], [name], name=name))

    def sides(self, image: str) -> str:
        """Height and width, as a tensor of two whole numbers."""
        return self.op("Shape", "sides", image, start=ROWS, end=COLUMNS + 1)

    def padded(self, image: str) -> str:
        """The image with both sides at multiples of 8."""
        multiple = self.whole_numbers("multiple", SIZE_MULTIPLE)
        missing = self.op("Mod", "pad", self.op("Neg", "pad", self.sides(image)), multiple)
        before = self.whole_numbers("pad/before", *6 * [0])  # four axes, then batch and channels behind them
        pads = self.op("Concat", "pad", before, missing, axis=0)
        return self.op("Pad", "pad", image, pads, mode="reflect")

    def cut(self, image: str, like: str) -> str:
        """The upper left part that has the sides of another one."""
        start, axes = self.whole_numbers("cut/start", 0, 0), self.whole_numbers("cut/axes", ROWS, COLUMNS)
        return self.op("Slice", "cut", image, start, self.sides(like), axes)

    def sum(self, name: str, first: str, *others: str) -> str:
        for other in others:
            first = self.op("Add", name, first, other)
        return first

    def conv(self, x: str, name: str) -> str:
        """The bias-free convolution whose kernel is at the path `name` of the parameters."""
        node = self.params
        for key in name.split("/"):
            node = node[key]
        kernel = np.asarray(node["kernel"])  # H W in out
        size = kernel.shape[0]
        weight = self.constant(f"{name}/kernel", kernel.transpose(3, 2, 0, 1))
        return self.op("Conv", name, x, weight, kernel_shape=[size, size], pads=[size // 2] * 4)

    def upsample(self, x: str, name: str) -> str:
        attributes = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
        return self.op("Resize", name, x, "", self.twice, **attributes)

    def split(self, x: str, axis: int, name: str) -> str:
        halves = self.add("Split", name, x, parts=2, axis=axis, num_outputs=2)
        return self.op("Concat", name, *halves, axis=BATCH)

    def merge(self, x: str, axis: int, name: str) -> str:
        halves = self.add("Split", name, x, parts=2, axis=BATCH, num_outputs=2)
        return self.op("Concat", name, *halves, axis=axis)

    # --- blocks ---

    def attention(self, x: str, name: str) -> str:
        weight = self.conv(self.op("GlobalAveragePool", name, x), f"{name}/squeeze")
        weight = self.conv(self.op("Relu", name, weight), f"{name}/excite")
        return self.op("Mul", name, x, self.op("Sigmoid", name, weight))

    def cab(self, x: str, name: str) -> str:
        residual = self.op("PRelu", name, self.conv(x, f"{name}/conv1"), self.slope)
        residual = self.conv(residual, f"{name}/conv2")
        return self.sum(name, x, self.attention(residual, f"{name}/ca"))

    def cabs(self, x: str, count: int, name: str) -> str:
        for i in range(count):
            x = self.cab(x, f"{name}/cab{i}")
        return x

    def sam(self, x: str, degraded: str, name: str) -> tuple[str, str]:
        restored = self.sum(name, degraded, self.conv(x, f"{name}/conv2"))
        attention = self.op("Sigmoid", name, self.conv(restored, f"{name}/conv3"))
        return self.sum(name, x, self.op("Mul", name, attention, self.conv(x, f"{name}/conv1"))), restored

    def encoder(self, x: str, name: str, csff: tuple[Pyramid, Pyramid] | None = None) -> Pyramid:
        levels = []
        for i in range(3):
            if i > 0:
                down = f"{name}/down{i}{i + 1}"
                half = self.op("AveragePool", down, x, kernel_shape=[2, 2], strides=[2, 2])
                x = self.conv(half, f"{down}/conv")
            x = self.cabs(x, 2, f"{name}/level{i + 1}")
            for side, pyramid in zip(("enc", "dec"), csff or (), strict=False):
                x = self.sum(name, x, self.conv(pyramid[i], f"{name}/csff_{side}{i + 1}"))
            levels.append(x)
        return levels

    def decoder(self, encoder: Pyramid, name: str) -> Pyramid:
        x = self.cabs(encoder[2], 2, f"{name}/level3")
        levels = [x]
        for i in (1, 0):
            up = f"{name}/up{i + 2}{i + 1}"
            # The 1 x 1 convolution first: it commutes with the resizing, and has a quarter of the pixels.
            larger = self.upsample(self.conv(x, f"{up}/up/conv"), up)
            skip = self.cab(encoder[i], f"{name}/skip_attn{i + 1}")
            x = self.cabs(self.sum(up, skip, larger), 2, f"{name}/level{i + 1}")
            levels.insert(0, x)
        return levels

    def orsnet(self, x: str, encoder: Pyramid, decoder: Pyramid, name: str) -> str:
        for i in range(3):
            orb = f"{name}/orb{i + 1}"
            x = self.sum(orb, x, self.conv(self.cabs(x, self.cfg.num_cab, f"{orb}/body"), f"{orb}/conv"))
            # Every convolution of the chain is 1 x 1 and commutes with the resizing: all of them at low resolution.
            fused = []
            for side, levels in (("enc", encoder), ("dec", decoder)):
                level = levels[i]
                for j in range(i):
                    level = self.conv(level, f"{name}/up_{side}{i}_{j}/conv")
                fused.append(self.conv(level, f"{name}/conv_{side}{i + 1}"))
            features = self.sum(name, *fused)
            for _ in range(i):
                features = self.upsample(features, name)
            x = self.sum(name, x, features)
        return x

    def network(self, image: str, stages: int) -> list[str]:
        """Names of the images that the stages restore from `image`, the last first."""
        shallow = lambda x, stage: self.cab(self.conv(x, f"shallow_feat{stage}_conv"), f"shallow_feat{stage}_cab")
        halves = self.split(image, ROWS, "halves")  # 2N 3 H/2 W
        quarters = self.split(halves, COLUMNS, "quarters")  # 4N 3 H/2 W/2
        encoder1 = self.encoder(shallow(quarters, 1), "stage1_encoder")
        encoder1 = [self.merge(level, COLUMNS, "stage1_encoder/merge") for level in encoder1]
        decoder1 = self.decoder(encoder1, "stage1_decoder")
        features1, restored1 = self.sam(decoder1[0], halves, "sam12")
        outputs = [self.merge(restored1, ROWS, "sam12/merge")]
        if stages == 1:
            return outputs

        joined = self.op("Concat", "concat12", shallow(halves, 2), features1, axis=1)
        encoder2 = self.encoder(self.conv(joined, "concat12"), "stage2_encoder", csff=(encoder1, decoder1))
        encoder2 = [self.merge(level, ROWS, "stage2_encoder/merge") for level in encoder2]
        decoder2 = self.decoder(encoder2, "stage2_decoder")
        features2, restored2 = self.sam(decoder2[0], image, "sam23")
        outputs = [restored2, *outputs]
        if stages == 2:
            return outputs

        joined = self.op("Concat", "concat23", shallow(image, 3), features2, axis=1)
        features3 = self.orsnet(self.conv(joined, "concat23"), encoder2, decoder2, "stage3_orsnet")
        return [self.sum("tail", image, self.conv(features3, "tail")), *outputs]


def write(path: Path, bundle: Bundle, stages: int, every_stage: bool) -> None:
    """Write the graph, with the network's sizes and where the weights come from. Raises UserError without onnx."""
    model = onnx_model(bundle.config, bundle.params, stages, every_stage)
    describe(model, bundle)
    path.write_bytes(model.SerializeToString())


def describe(model: "onnx.ModelProto", bundle: Bundle) -> None:
    """Note the network's sizes and where the weights come from in the file."""
    about = {"config": dataclasses.asdict(bundle.config), "provenance": bundle.provenance.to_json()}
    onnx = import_extra("onnx", "onnx", EXTRA)
    onnx.helper.set_model_props(model, {key: json.dumps(value) for key, value in about.items()})


def read(path: Path, _config: MPRNetConfig) -> Network:
    """The network in the file under ONNX Runtime, on the CPU. Raises UserError if that is not installed."""
    onnxruntime = import_extra("onnxruntime", "onnxruntime", EXTRA)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def run(images: np.ndarray) -> list[np.ndarray]:
        outputs = session.run(None, {INPUT: np.ascontiguousarray(images.transpose(0, 3, 1, 2))})
        return [output.transpose(0, 2, 3, 1) for output in outputs]

    return run


FORMAT = Format(
    file="model.onnx",
    write=write,
    read=read,
    packages=("onnxruntime",),
    imports="import onnxruntime",
    load="network = onnxruntime.InferenceSession(path)",
    restore="""\
restored = network.run(None, {"image": padded.transpose(2, 0, 1)[None]})[0][0].transpose(1, 2, 0)""",
)

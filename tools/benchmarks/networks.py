"""The network in this project, in PyTorch and in runtimes of exported graphs, with the same weights."""

import contextlib
import functools
import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

import jax
import numpy as np

from benchmarks.timing import Contestant, Missing
from mprnet_jax.backends import dispatch
from mprnet_jax.interchange.torch import reference
from mprnet_jax.interchange.torch import state_dict as torch_state_dict
from mprnet_jax.model import MPRNetConfig, Params
from mprnet_jax.restoring.engines.executables import Network, ProgramKey, compile_restoring
from mprnet_jax.restoring.engines.openvino import OpenVinoEngine
from mprnet_jax.support.errors import UserError
from mprnet_jax.support.optional_imports import import_extra


def optional(module: str, package: str) -> ModuleType:
    """A package of the bench extra. Raises Missing."""
    try:
        return import_extra(module, package, "bench")
    except UserError as error:
        raise Missing(str(error)) from error


def device_bytes(program: jax.stages.Compiled) -> Callable[[], int] | None:
    """What a program takes of an accelerator as XLA plans it, with arguments and results; None on a CPU.

    JAX's own peak is that of all contestants of this process, and cannot be reset.
    """
    plan = program.memory_analysis()
    total = plan.argument_size_in_bytes + plan.output_size_in_bytes + plan.temp_size_in_bytes - plan.alias_size_in_bytes
    return None if jax.default_backend() == "cpu" else lambda: total


def ours(cfg: MPRNetConfig, params: Params, images: np.ndarray, dtype: str, onednn: bool = False) -> Contestant:
    """The programs that Restorer runs for whole images of this size, or `onednn`, for many; a CPU's cores take an image
    each where there are several, as in a folder. Raises Missing where jaxlib has no oneDNN."""
    if onednn and not dispatch.has_onednn_convolutions(dtype):
        raise Missing("this jaxlib has no oneDNN for it")
    on_cpu = jax.default_backend() == "cpu"
    sizes = cfg if onednn else dispatch.faster_config(cfg, dtype)
    batch, height, width, _ = images.shape
    start = time.perf_counter()
    share = batch // math.gcd(batch, jax.local_device_count()) if on_cpu else batch
    network = Network(sizes, dtype, 3, None, onednn=onednn)
    calls = []
    for number, first in enumerate(range(0, batch, share)):
        program = compile_restoring(ProgramKey(network, height, width, share), number)
        part = (
            dispatch.pack_params(params, sizes, dtype),
            images[first : first + share],
            np.zeros((share, 4), np.int32),
        )
        calls.append(functools.partial(program, *jax.device_put(part, jax.local_devices()[number])))
    seconds = time.perf_counter() - start
    threads = ThreadPoolExecutor(len(calls))

    def run() -> list[jax.Array]:
        return list(threads.map(lambda call: call().block_until_ready(), calls))

    return Contestant(
        run=run,
        answer=np.concatenate,
        compile_seconds=seconds,
        device_bytes=device_bytes(program),
    )


def our_openvino(cfg: MPRNetConfig, params: Params, images: np.ndarray, dtype: str, threads: int) -> Contestant:
    """The OpenVINO engine of Restorer. Raises Missing without OpenVINO, and where it would ignore bfloat16."""
    for module in ("openvino", "onnx"):
        optional(module, module)
    if dtype == "bfloat16" and not dispatch.cpu_has_bfloat16():
        raise Missing("OpenVINO ignores bfloat16 on this processor")
    network = Network(cfg, dtype, 3, None)
    engine = OpenVinoEngine(network, params, "CPU", threads)
    batch, height, width, _ = images.shape
    key, offsets = ProgramKey(network, height, width, batch), np.zeros((batch, 4), np.int32)
    start = time.perf_counter()
    engine.start(key, images[:, :8, :8], offsets, 0)  # the graph takes all sizes
    seconds = time.perf_counter() - start
    return Contestant(lambda: engine.start(key, images, offsets, 0), np.asarray, seconds)


class Torch:
    """PyTorch on its best device, with this project's parameters."""

    def __init__(self, threads: int) -> None:
        self.torch = optional("torch", "torch")
        self.torch.set_num_threads(threads)
        self.device = "cuda" if self.torch.cuda.is_available() else "cpu"
        if self.device == "cuda":
            self.torch.backends.cudnn.benchmark = True  # its fastest kernels, tried out in the first run
            self.torch.cuda.empty_cache()
            self.held = self.torch.cuda.memory_allocated()  # by those before it

    def network(self, cfg: MPRNetConfig, params: Params) -> Any:
        """The released network. Raises Missing without spandrel_extra_arches."""
        try:
            network = reference.torch_network(cfg)
        except UserError as error:
            raise Missing(str(error)) from error
        state = torch_state_dict.to_state_dict(cfg, params)
        network.load_state_dict({name: self.torch.from_numpy(np.array(array)) for name, array in state.items()})
        return network.to(self.device)

    def tensor(self, images: np.ndarray) -> Any:
        """N H W C -> N C H W on the device."""
        return self.torch.from_numpy(images.transpose(0, 3, 1, 2).copy()).to(self.device)

    def autocast(self, bfloat16: bool) -> contextlib.AbstractContextManager:
        return self.torch.autocast(self.device, self.torch.bfloat16) if bfloat16 else contextlib.nullcontext()

    @contextlib.contextmanager
    def full_precision(self) -> Iterator[None]:
        """In this context, a GPU multiplies float32 in float32: by default it takes TF32 (11 bits) for convolutions."""
        cudnn = self.torch.backends.cudnn
        before = cudnn.allow_tf32, cudnn.benchmark
        cudnn.allow_tf32, cudnn.benchmark = False, False
        try:
            yield
        finally:
            cudnn.allow_tf32, cudnn.benchmark = before

    def wait(self) -> None:
        if self.device == "cuda":
            self.torch.cuda.synchronize()

    def device_bytes(self, run: Callable[[], Any]) -> Callable[[], int] | None:
        """Measures the most that a run takes; None on a CPU. Not the first run, which tries out cuDNN's kernels."""

        def measure() -> int:
            self.torch.cuda.reset_peak_memory_stats()
            run()
            return self.torch.cuda.max_memory_allocated() - self.held

        return measure if self.device == "cuda" else None

    def contestant(
        self,
        cfg: MPRNetConfig,
        params: Params,
        images: np.ndarray,
        channels_last: bool = False,
        bfloat16: bool = False,
        compile: bool = False,
    ) -> Contestant:
        """The network without gradients: as released, or with what PyTorch offers to be faster."""
        layout = self.torch.channels_last if channels_last else self.torch.contiguous_format
        network = self.network(cfg, params).eval().to(memory_format=layout)
        x = self.tensor(images).contiguous(memory_format=layout)
        # Small kernels wait for the host unless they are recorded as CUDA graphs, as XLA does of its own accord.
        mode = "reduce-overhead" if self.device == "cuda" else "default"
        call = self.torch.compile(network, mode=mode) if compile else network

        def run() -> Any:
            with self.torch.inference_mode(), self.autocast(bfloat16):
                restored = call(x)[0]
            self.wait()
            return restored

        seconds = None
        if compile:
            start = time.perf_counter()
            try:
                run()
            except Exception as error:  # no C++ compiler, an operation it does not know: many types
                reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
                raise Missing(f"torch.compile failed ({reason[:150]})") from error
            seconds = time.perf_counter() - start
        answer = lambda restored: restored.float().cpu().numpy().transpose(0, 2, 3, 1)

        def exact() -> np.ndarray:
            with self.full_precision():
                return answer(run())

        shortened = self.device == "cuda" and not (channels_last or compile or bfloat16)
        return Contestant(run, answer, seconds, self.device_bytes(run), exact if shortened else None)


def onnx_bytes(cfg: MPRNetConfig, params: Params) -> bytes:
    from mprnet_jax.interchange.onnx_graph import onnx_model

    optional("onnx", "onnx")
    return onnx_model(cfg, params).SerializeToString()


def onnx_runtime(cfg: MPRNetConfig, params: Params, images: np.ndarray, threads: int) -> Contestant:
    runtime = optional("onnxruntime", "onnxruntime")
    content = onnx_bytes(cfg, params)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    gpu = [name for name in ("CUDAExecutionProvider",) if name in runtime.get_available_providers()]
    start = time.perf_counter()
    session = runtime.InferenceSession(content, options, providers=[*gpu, "CPUExecutionProvider"])
    seconds = time.perf_counter() - start
    x = {"image": images.transpose(0, 3, 1, 2).copy()}
    return Contestant(lambda: session.run(None, x)[0], lambda y: y.transpose(0, 2, 3, 1), seconds)


def openvino(cfg: MPRNetConfig, params: Params, images: np.ndarray, threads: int, precision: str) -> Contestant:
    """On the CPU. `precision` f32 or bf16: without it, OpenVINO takes bf16 where the processor has it."""
    package = optional("openvino", "openvino")
    content = onnx_bytes(cfg, params)
    core = package.Core()
    start = time.perf_counter()
    model = core.read_model(content)
    model.reshape([len(images), 3, *images.shape[1:3]])
    settings = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
    program = core.compile_model(model, "CPU", settings)
    seconds = time.perf_counter() - start
    x = images.transpose(0, 3, 1, 2).copy()
    request = program.create_infer_request()
    return Contestant(
        lambda: request.infer([x], share_outputs=True)[0], lambda y: y.transpose(0, 2, 3, 1).copy(), seconds
    )


def flops(cfg: MPRNetConfig, shape: tuple[int, ...]) -> float:
    """Floating-point operations of the released network's convolutions, two a multiplication: what everybody's time
    is divided into, whoever saves some of them. Counted by PyTorch; raises Missing without it."""
    torch = optional("torch", "torch")
    from torch.utils.flop_counter import FlopCounterMode

    try:
        network = reference.torch_network(cfg).to("meta")
    except UserError as error:
        raise Missing(str(error)) from error
    n, h, w, c = shape
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.empty(n, c, h, w, device="meta"))
    return float(counter.get_total_flops())


def random_images(batch: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((batch, height, width, 3), dtype=np.float32)

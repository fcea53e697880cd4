"""`benchmark.py restore`: the network without gradients against PyTorch, ONNX Runtime and OpenVINO."""

import argparse
import os

from benchmarks import networks, side_by_side
from benchmarks.timing import Missing
from mprnet_jax.model import PRESETS, init_params

NAMES = {"float32": side_by_side.OURS, "bfloat16": f"{side_by_side.OURS} bfloat16"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    side_by_side.add_arguments(parser, sizes=["256"], batch=1, presets=["deraining", "deblurring", "light"])
    parser.add_argument("--dtype", nargs="+", choices=NAMES, default=["float32"], help="[%(default)s]")
    parser.add_argument("--compile", action="store_true", help="also torch.compile, which takes minutes to prepare")


def main(args: argparse.Namespace) -> None:
    """Time to restore: arrays in memory to arrays in memory, all with the same random weights.

    ratio: the other's time over ours in the same type, above 1 we are faster. Differences are from PyTorch eager in
    float32 (on a GPU, with TF32 turned off for them alone). GFLOP/s and the share of the peak count the released
    network's operations, also for who saves some of them.
    """
    side_by_side.run(args, "restore", prepare)


def prepare(args: argparse.Namespace, preset: str, size: side_by_side.Size) -> side_by_side.Prepared:
    cfg, threads = PRESETS[preset], len(os.sched_getaffinity(0))
    params, images = init_params(cfg, seed=0), networks.random_images(args.batch, *size)
    torch = lambda **options: lambda: networks.Torch(threads).contestant(cfg, params, images, **options)
    builders: side_by_side.Builders = {}
    for dtype in args.dtype:
        builders[NAMES[dtype]] = lambda dtype=dtype: networks.ours(cfg, params, images, dtype)
        builders[f"{NAMES[dtype]}, oneDNN"] = lambda dtype=dtype: networks.ours(cfg, params, images, dtype, onednn=True)
        builders[f"{NAMES[dtype]}, OpenVINO engine"] = lambda dtype=dtype: networks.our_openvino(
            cfg, params, images, dtype, threads
        )
    builders[side_by_side.REFERENCE] = torch()
    builders["PyTorch channels_last"] = torch(channels_last=True)
    if args.compile:
        builders["PyTorch compiled, channels_last"] = torch(channels_last=True, compile=True)
    builders["ONNX Runtime"] = lambda: networks.onnx_runtime(cfg, params, images, threads)
    builders["OpenVINO"] = lambda: networks.openvino(cfg, params, images, threads, "f32")
    if "bfloat16" in args.dtype:
        builders["PyTorch bfloat16, channels_last"] = torch(channels_last=True, bfloat16=True)
        if args.compile:
            options = {"channels_last": True, "bfloat16": True, "compile": True}
            builders["PyTorch compiled, bfloat16, channels_last"] = torch(**options)
        builders["OpenVINO bfloat16"] = lambda: networks.openvino(cfg, params, images, threads, "bf16")
    try:
        return builders, networks.flops(cfg, images.shape)
    except Missing:
        return builders, None

"""Convert MPRNet checkpoints between PyTorch files and bundles, the folders that `--checkpoint` takes.

python tools/convert_torch_ckpt.py model_deblurring.pth --output checkpoints/deblurring
python tools/convert_torch_ckpt.py --to-torch checkpoints/deblurring --output model_deblurring.pth
"""

import argparse
import sys

from mprnet_jax.interchange.torch import convert
from mprnet_jax.support.command_line import Parser, path_option
from mprnet_jax.support.errors import exit_on_user_error

EPILOG = """\
The source may be an official file, or any state dict of the same network at any width: as torch.save writes it, with
or without an optimiser beside it, or as safetensors. The sizes of the network are read off its tensors, and PyTorch
is not needed. A .pth can hold a program; none that a file brings along is run.

--verify needs PyTorch: pip install "mprnet_jax[verify]". It runs the PyTorch network beside this one on random images
and writes nothing if they differ by more than rounding.

With --to-torch the file gets the official names, for PyTorch programs (torch.load, spandrel, ComfyUI). Nothing that
exists is ever overwritten.
"""


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = Parser(
        prog="convert_torch_ckpt.py",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", metavar="SRC", type=path_option, nargs="?", help="a .pth, .pt or .safetensors file")
    parser.add_argument(
        "--to-torch", metavar="DIR", type=path_option, help="instead of SRC: a bundle to write as a PyTorch file"
    )
    parser.add_argument(
        "--output", type=path_option, required=True, help="new folder for the bundle; with --to-torch, new file"
    )
    parser.add_argument("--verify", action="store_true", help="compare with the PyTorch network before writing")
    args = parser.parse_args(argv)
    if (args.source is None) == (args.to_torch is None):
        parser.error("name either SRC or --to-torch DIR")
    if args.to_torch and args.verify:
        parser.error("--verify goes with SRC: convert the bundle first, then verify the file")
    return args


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    with exit_on_user_error("convert_torch_ckpt"):
        if args.to_torch:
            convert.to_torch(args.to_torch, args.output)
        else:
            convert.to_bundle(args.source, args.output, verify=args.verify)


if __name__ == "__main__":
    main(sys.argv[1:])

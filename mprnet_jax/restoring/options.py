"""RestoreOptions: every option of restoring, for Python and for all commands."""

import argparse
import dataclasses
import difflib
import functools
from collections.abc import Collection
from dataclasses import field
from typing import Any, Literal

import docstring_parser

from mprnet_jax.runtime import memory
from mprnet_jax.support.errors import UserError

ComputeDtype = Literal["auto", "float32", "bfloat16"]
COMPUTED_IN: tuple[ComputeDtype, ...] = ("float32", "bfloat16")
DTYPES: tuple[ComputeDtype, ...] = ("auto", *COMPUTED_IN)
ENGINES = ("auto", "xla", "openvino")
STAGES = (1, 2, 3)
QUALITY = 95  # of JPEGs, unless another is asked for
DEST = "restore_"  # before the names of fields in parsed arguments: commands have options of like names
SIZE_MULTIPLE = 8  # pixels; that of model.py, which --help need not load
SMALLEST_SIDE = 2 * SIZE_MULTIPLE  # pixels, of tiles and shapes


def _number_or_word(text: str) -> int | str:
    """What is no number is left to RestoreOptions, which says what it may be."""
    try:
        return int(text)
    except ValueError:
        return text


def _number_of_devices(text: str) -> int | None:
    if text == "all":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a number of devices, or all; got {text!r}")
    return int(text)


def _option(name: str | None = None, *, changes_result: bool = True, **argument: Any) -> dict[str, Any]:
    """Metadata of a field that commands take as an option: `name` if not its own, `argument` as argparse takes it."""
    return {"option": name, "argument": argument, "changes_result": changes_result}


@dataclasses.dataclass(frozen=True)
class RestoreOptions:
    """How weights are used. Commands have an option for each field, with these texts as its help."""

    tile: int | Literal["auto", "whole"] = field(
        default="auto", metadata=_option(metavar="auto|whole|N", type=_number_or_word)
    )
    """Side of the tiles in pixels, a multiple of 8; whole: each picture at once, as the paper does; auto: whole if it
    fits in memory (on a CPU: in a quarter of the free memory, or if it has a megapixel at most), else the equal tiles
    that fit and overlap least, up to 2048 x 2048. Tiles change the result a little: the channel attention averages over
    what it sees."""
    overlap: int | None = field(default=None, metadata=_option(metavar="N", type=int))
    """Pixels that tiles of a given size share at least, where they blend. By default an eighth of the tile."""
    stages: int = field(default=3, metadata=_option("--stage", type=int, choices=STAGES))
    """Stop after this stage: a little worse, much faster; later stages are not computed."""
    tlc: bool = field(default=False, metadata=_option())
    """Channel attention by means over windows of 1.5 x the training patch, as in training, instead of over the whole
    picture (TLC, arXiv:2112.04491): better on pictures much larger than the patches."""
    patch_size: int | None = field(default=None, metadata=_option(metavar="N", type=int))
    """Side of the training patch in pixels, for tlc, if the bundle names none: 256 for the official checkpoints."""
    self_ensemble: bool = field(default=False, metadata=_option())
    """Mean over the flips and rotations under which the task stays the same: eight for noise and blur, for as many
    times the time; two for rain, which falls down."""
    dtype: ComputeDtype = field(default="float32", metadata=_option(choices=DTYPES))
    """What the features are computed in. auto: bfloat16 for pictures of 8 bits if the processor has it and the engine
    uses it, else float32."""
    engine: Literal["auto", "xla", "openvino"] = field(
        default="auto", metadata=_option(changes_result=False, choices=ENGINES)
    )
    """What computes the network: XLA, which is always there, or OpenVINO (pip install 'mprnet_jax[openvino]'), faster
    on CPUs. auto: OpenVINO where it is installed and JAX has no GPU or TPU. tlc and halo are computed by XLA always."""
    engine_device: str = field(default="CPU", metadata=_option(changes_result=False, metavar="NAME"))
    """OpenVINO's device: CPU, or GPU or NPU of Intel (not tried)."""
    strength: float = field(default=1.0, metadata=_option(metavar="S", type=float))
    """How much is taken out, 0 to 1: 0 leaves the picture as it came, 1 takes out all that is found. Between them noise
    comes back less where the picture is smooth, and more where it has texture; rain and blur are blended."""
    strength_colour: float | None = field(default=None, metadata=_option(metavar="S", type=float))
    """The same for colour alone, for specks of colour that disturb more than grain. By default as strength."""
    guard: bool = field(default=True, metadata=_option("--no-guard"))
    """Where the network goes astray, so that its stages disagree or leave the input's range by more than is plausible,
    an earlier stage or the input is taken, blended; elsewhere nothing changes. For weights that say that they are for
    noise, rain or blur."""
    halo: int | Literal["full"] | None = field(default=None, metadata=_option(metavar="full|N", type=_number_or_word))
    """With tlc: tiles see this many pixels around what they restore, stand side by side, and are cut and averaged as
    the whole picture is. full: the radius of the receptive field, for the whole picture's result to float rounding;
    that needs tiles of at least 7,176 pixels with the denoiser that ships, and the memory for them. A halo of 128 came
    within 6e-5 of the whole picture on a photo of 512 x 768 with it. By default tiles overlap and blend, each with
    cuts and means of its own."""
    devices: int | tuple[int, ...] | None = field(
        default=None, metadata=_option(changes_result=False, metavar="all|N", type=_number_of_devices)
    )
    """How many GPUs or TPU cores share the work, or parts of a CPU; from Python also their numbers. By default
    commands take all, of a CPU one, or with many pictures one for each core, and Python takes the first."""
    batch: int = field(default=1, metadata=_option(changes_result=False, metavar="N", type=int))
    """Tiles that a device restores at once; more than 1 may be faster on a GPU or TPU."""
    shapes: tuple[tuple[int, int], ...] = ()
    """Heights and widths, multiples of 8, that whole images are padded to, so that one program serves many sizes: the
    same result to float rounding. Empty: a program for each size. Restorer.for_sizes chooses them."""
    uses: int = 1
    """Images that each program is to restore: many pay for faster ones that take longer to start with
    (backends/dispatch.py). Restorer.for_sizes counts them."""
    memory_share: float = memory.SHARE
    """Share of the free memory that tile auto may plan with: less where several processes share a machine."""

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise UserError(f"dtype must be auto, float32 or bfloat16, got {self.dtype!r}")
        if self.engine not in ENGINES:
            raise UserError(f"engine must be auto, xla or openvino, got {self.engine!r}")
        if self.patch_size is not None and self.patch_size < 1:
            raise UserError(f"patch_size must be a positive number of pixels, got {self.patch_size}")
        if self.stages not in STAGES:
            raise UserError(f"stages must be 1, 2 or 3, got {self.stages}")
        self._check_tiles()
        for name in ("strength", "strength_colour"):
            value = getattr(self, name)
            if name == "strength_colour" and value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
                raise UserError(f"{name} must be a number in 0..1, got {value!r}")
        if self.batch < 1:
            raise UserError(f"batch must be at least 1, got {self.batch}")
        if not 0 < self.memory_share <= 1:
            raise UserError(f"memory_share must be above 0 and at most 1, got {self.memory_share}")

    def _check_tiles(self) -> None:
        if isinstance(self.tile, int):
            if self.tile < SMALLEST_SIDE or self.tile % SIZE_MULTIPLE:
                raise UserError(
                    f"tile must be a multiple of {SIZE_MULTIPLE} of at least {SMALLEST_SIDE} pixels, got {self.tile}"
                )
            if self.overlap is not None and not 0 <= self.overlap <= self.tile // 2:
                raise UserError(f"overlap must be in 0..{self.tile // 2}, half of the tile; got {self.overlap}")
        elif self.tile not in ("auto", "whole"):
            raise UserError(f"tile must be auto, whole or a number of pixels, got {self.tile!r}")
        elif self.overlap is not None:
            raise UserError("overlap goes with a tile of your own; give the tile, too")
        if self.halo is not None and (self.overlap is not None or not self.tlc):
            raise UserError("halo goes with tlc, which makes the network local, and without overlap")
        if self.halo not in (None, "full") and not (isinstance(self.halo, int) and self.halo >= 0):
            raise UserError(f"halo must be full or a number of pixels, got {self.halo!r}")
        if any(side % SIZE_MULTIPLE or side < SMALLEST_SIDE for shape in self.shapes for side in shape):
            raise UserError(
                f"shapes must be multiples of {SIZE_MULTIPLE} of at least {SMALLEST_SIDE} pixels, got {self.shapes}"
            )

    @property
    def strengths(self) -> tuple[float, float]:
        """Of luminance and of colour."""
        return self.strength, self.strength if self.strength_colour is None else self.strength_colour

    def replace(self, **changed: Any) -> "RestoreOptions":
        """With other values. Raises UserError for a name that is no option, or a value that cannot be."""
        names = [field.name for field in dataclasses.fields(self)]
        for name in changed:
            if name not in names:
                near = difflib.get_close_matches(name, names, 1)
                meant = f"did you mean {near[0]}?" if near else f"choose from {', '.join(names)}"
                raise UserError(f"{name} is no option of restoring; {meant}")
        return dataclasses.replace(self, **changed)

    def of_result(self) -> dict[str, Any]:
        """The options that change what a picture looks like by more than float rounding."""
        return {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.metadata.get("changes_result")
        }


@functools.cache
def _texts() -> dict[str, str]:
    """The docstring of each field, as one line."""
    found = docstring_parser.parse_from_object(RestoreOptions).params
    return {param.arg_name: " ".join(param.description.split()) for param in found}


def add_restore_options(
    parser: argparse.ArgumentParser | argparse._ArgumentGroup, only: Collection[str] | None = None
) -> None:
    """Add an option for each field of RestoreOptions, or for some of them (`only`); restore_options reads them."""
    for declared in dataclasses.fields(RestoreOptions):
        if not declared.metadata or (only is not None and declared.name not in only):
            continue
        option = declared.metadata["option"] or f"--{declared.name.replace('_', '-')}"
        text = _texts().get(declared.name, "see the documentation").replace("%", "%%")  # where there are no sources
        text = text[0].lower() + text[1:].removesuffix(".")
        if declared.default is True:
            parser.add_argument(option, dest=DEST + declared.name, action="store_false", help=f"turn this off: {text}")
            continue
        if declared.default is False:
            parser.add_argument(option, dest=DEST + declared.name, action="store_true", help=text)
            continue
        shown = "" if declared.default is None else " (default: %(default)s)"
        arguments = dict(declared.metadata["argument"])
        parser.add_argument(option, dest=DEST + declared.name, default=declared.default, help=text + shown, **arguments)


def restore_options(parser: argparse.ArgumentParser, args: argparse.Namespace) -> RestoreOptions:
    """The options that a command line gave. What cannot be ends the command, as parser.error does."""
    given = {name.removeprefix(DEST): value for name, value in vars(args).items() if name.startswith(DEST)}
    if given.get("patch_size") is not None and not given.get("tlc", True):
        parser.error("--patch-size goes with --tlc; give that, too")
    try:
        return RestoreOptions(**given)
    except UserError as error:
        parser.error(str(error))

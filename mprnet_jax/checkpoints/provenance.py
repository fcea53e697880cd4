"""Where a bundle's parameters come from, with types: what its provenance/ holds as JSON."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

LARGEST_PATCH = 65_536  # pixels, the side of a training patch

ORIENTATIONS = tuple(f"rot{90 * quarters}{flip}" for quarters in range(4) for flip in ("", "_flip"))
"""The eight: a left-right flip or none, then counter-clockwise quarter turns."""
ORIENTATION_SETS = {"all": ORIENTATIONS, "mirror": ORIENTATIONS[:2], "none": ORIENTATIONS[:1]}
TASK_ORIENTATIONS = {"deraining": ORIENTATION_SETS["mirror"]}
"""Of tasks that are not the same in all eight: turned rain would fall sideways or upwards."""

_TEXTS = (
    "task",
    "preset",
    "licence",
    "source",
    "source_file",
    "source_dtype",
    "sha256",
    "official",
    "command",
    "version",
)


@dataclasses.dataclass(frozen=True, eq=False)
class Provenance(Mapping[str, Any]):
    """What is known of a bundle's parameters; None where nobody said.

    It is also a mapping of all that is known, `other` included, as the JSON in the bundle has it.
    """

    task: str | None = None
    """What the network restores: deblurring, denoising, deraining, or another word."""
    preset: str | None = None
    """Name of the sizes (model.PRESETS), or "custom"."""
    patch_size: int | None = None
    """Side of the training patch in pixels."""
    orientations: tuple[str, ...] | None = None
    """Flips and turns under which the task is the same, from ORIENTATIONS. A word of ORIENTATION_SETS is taken, too."""
    licence: str | None = None
    source: str | None = None
    """Who made them, in a sentence."""
    source_file: str | None = None
    """Name of the file that they were converted from, without its folder."""
    source_dtype: str | None = None
    """Number types in that file."""
    sha256: str | None = None
    """Of that file."""
    official: str | None = None
    """The task of the official file that it is, byte for byte."""
    command: str | None = None
    """That trained them."""
    config: Mapping[str, Any] | None = None
    """The training recipe, as JSON."""
    version: str | None = None
    """Of mprnet_jax, at the time."""
    other: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """What else the bundle says: scores, the step, what a later version writes. Never the name of a field above."""

    def __post_init__(self) -> None:
        if self.orientations is not None:
            object.__setattr__(self, "orientations", _orientations(self.orientations))
        for name in _TEXTS:
            if not isinstance(getattr(self, name), str | None):
                raise ValueError(f"provenance: {name} must be text, got {_short(getattr(self, name))}")
        size = self.patch_size
        if size is not None and (type(size) is not int or not 1 <= size <= LARGEST_PATCH):
            raise ValueError(f"provenance: patch_size must be 1 to {LARGEST_PATCH} pixels, got {_short(size)}")
        for name in ("config", "other"):
            if not isinstance(getattr(self, name), Mapping | None):
                raise ValueError(f"provenance: {name} must be a mapping, got {_short(getattr(self, name))}")
        if known := _FIELDS & set(self.other):
            raise ValueError(f"provenance: {min(known)} is a field of its own")

    @classmethod
    def from_json(cls, content: Any) -> "Provenance":
        """From what json.loads gave; raises ValueError for what is no mapping or has a field of another type."""
        if not isinstance(content, Mapping):
            raise ValueError(f"the provenance is {_short(content)} instead of a mapping")
        fields = {name: value for name, value in content.items() if name in _FIELDS}
        return cls(**fields, other={name: value for name, value in content.items() if name not in _FIELDS})

    @property
    def unchanged_under(self) -> tuple[str, ...]:
        """Names from ORIENTATIONS under which the task is the same: as said, else by the task, else all eight."""
        return self.orientations or TASK_ORIENTATIONS.get(self.task or self.official or "", ORIENTATIONS)

    def to_json(self) -> dict[str, Any]:
        """What json.dumps takes, without the fields that are not known."""
        fields = {name: getattr(self, name) for name in _FIELDS_IN_ORDER if getattr(self, name) is not None}
        listed = {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()}
        return {**listed, **self.other}

    def __getitem__(self, name: str) -> Any:
        return self.to_json()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.to_json())

    def __len__(self) -> int:
        return len(self.to_json())

    def __eq__(self, other: object) -> bool:
        """Whether the other one, or a mapping, says the same: what is None is not said."""
        if not isinstance(other, Mapping):
            return NotImplemented
        said = other.items() if isinstance(other, Provenance) else _said(other).items()
        return _said(self) == dict(said)

    __hash__ = None  # like every mapping


def _said(mapping: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in mapping.items() if value is not None}


def _orientations(said: Any) -> tuple[str, ...]:
    """Names of orientations from what a bundle says; ValueError for what there is not."""
    if isinstance(said, str) and said in ORIENTATION_SETS:
        return ORIENTATION_SETS[said]
    names = tuple(said) if isinstance(said, list | tuple) and len(said) <= len(ORIENTATIONS) else ()
    if (
        names
        and all(isinstance(name, str) and name in ORIENTATIONS for name in names)
        and len(set(names)) == len(names)
    ):
        return names
    raise ValueError(
        f"provenance: orientations must be {', '.join(ORIENTATION_SETS)}, or a list of {', '.join(ORIENTATIONS)}; "
        f"got {_short(said)}"
    )


def _short(value: Any) -> str:
    """A value for an error: its text is a stranger's, and a number may have a million digits."""
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 64:
        return f"a number of {value.bit_length()} bits"
    if isinstance(value, str):
        return ascii(value[:40])
    return ascii(value) if isinstance(value, int | float | None) else f"a {type(value).__name__}"


_FIELDS_IN_ORDER = tuple(field.name for field in dataclasses.fields(Provenance) if field.name != "other")
_FIELDS = frozenset(_FIELDS_IN_ORDER)

"""How people have pairs on disk, as sets are downloaded and as other projects want them, and where each side lies.

- two folders, one for each side, under the names that pairs.SIDE_NAMES lists: input/ and target/, lq/ and gt/ ...;
- scene folders with such two folders in each: GoPro of its authors, SCENE/blur and SCENE/sharp;
- one folder of clean pictures beside those of the splits: HIDE of its authors, train/, test/, GT/;
- lists of pairs: RealBlur of its authors, RealBlur_J_train_list.txt with the two files of a pair in each line;
- any of these inside train/, val/ or test/.

A folder may lie in a zip archive (zipfile.Path).
"""

import dataclasses
import os
import re
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

from mprnet_jax import images
from mprnet_jax.data.sources.pairs import SIDE_NAMES, SIDES, Matched, Pair, is_link, key_of, list_pictures, match
from mprnet_jax.support.errors import UserError

TRAINING = ("train", "training")
VALIDATION = ("validation", "val", "valid")
TEST = ("test", "testing")
SPLITS = (*TRAINING, *VALIDATION, *TEST)
LIST = re.compile(rf"(?P<set>.+)_(?P<split>{'|'.join(SPLITS)})_list\.txt", re.IGNORECASE)
SETS = {  # name -> the folders that people keep it in
    "gopro": ("GoPro", "GOPRO_Large"),
    "hide": ("HIDE", "HIDE_dataset"),
    "realblur_j": ("RealBlur_J", "RealBlur"),
    "realblur_r": ("RealBlur_R", "RealBlur"),
    "sidd": ("SIDD",),
    "rain13k": ("Rain13K", "Deraining"),
}
RAIN_TESTS = ("Test100", "Rain100H", "Rain100L", "Test2800", "Test1200")
TITLES = frozenset((*RAIN_TESTS, *(title for titles in SETS.values() for title in titles)))
UNDERSTOOD = (
    "pairs lie in input/ and target/ (or lq/ and gt/, blur/ and sharp/, hazy/ and GT/, noisy/ and clean/, rain/ and "
    "norain/), also inside train/, test/ or scene folders"
)
WHOLE = ""  # the split of a folder that has none


@dataclasses.dataclass(frozen=True)
class Layout:
    """Pairs that are laid out in a known way; their files are listed when they are asked for."""

    folder: Path
    what: str  # "pairs in lq/ and gt/", for people
    match: Callable[[], Matched]  # raises UserError for what cannot be listed or is empty
    scenes: tuple[str, ...] = ()  # the folders that have both sides each, if they are several


@dataclasses.dataclass(frozen=True)
class Sides:
    """The two folders of a pair, and what stands before the names of the pictures in them."""

    input: tuple[Path, ...]
    target: Path
    prefix: str = ""


def find_layouts(folder: Path, only: str | None = None) -> dict[str, Layout]:
    """Split -> its pairs; {"": ...} for pairs without splits, {} for a folder that holds none.

    `only`: of lists for several sets in one folder, those of this one, such as "realblur_j".
    Raises UserError if it is not clear which folder or list is meant, or if one of the two sides is not there.
    """
    if sides := find_sides(folder):
        return {WHOLE: _of_folders(folder, [sides])}
    if lists := _find_lists(folder, only):
        return lists
    found = {}
    splits = {part.name.lower(): part for part in _folders(folder) if part.name.lower() in SPLITS}
    for name, part in splits.items():
        scenes = find_scenes(part)
        if scenes:
            found[name] = _of_folders(part, scenes)
        elif shared := _shared_target(folder, part):
            found[name] = shared
    if found:
        return found
    if isinstance(folder, Path):
        here = Path(os.path.abspath(folder))
        if here.name.lower() in SPLITS and (shared := _shared_target(here.parent, folder)):
            return {WHOLE: shared}
    _refuse_one_side(folder, SIDES)
    if list_pictures(folder):
        return {}
    scenes = find_scenes(folder)
    return {WHOLE: _of_folders(folder, scenes)} if scenes else {}


def find_layout(folder: Path, splits: Sequence[str] = TRAINING, only: str | None = None) -> Layout | None:
    """The pairs of the first of these splits that a folder has, or all of one without splits; None if it has no pairs.

    Raises UserError as find_layouts does, and for a folder that has other splits alone.
    """
    found = find_layouts(folder, only)
    if not found or WHOLE in found:
        return found.get(WHOLE)
    for split in splits:
        if split in found:
            return found[split]
    raise UserError(
        f"{folder}: pairs in {', '.join(f'{name}/' for name in sorted(found))}, of which none is called "
        f"{' or '.join(splits)}; name the folder that is meant"
    )


def find_set(root: Path, name: str, split: str, below: bool = True) -> Layout | None:
    """The pairs of a published set in a folder (or archive) that may hold several; None if they are not there.

    Unless `below`, the folder may be the set or the split itself.

    `name`: a key of SETS. `split`: "train", "test" or, of a set of sets, "test/Rain100H". Looked for as the folder
    NAME/split, split/NAME or split, for the last part of the split alone, and as the authors lay their sets out.
    Raises UserError as find_layouts does.
    """
    last = split.rsplit("/", 1)[-1]
    found = {} if below else find_layouts(root, name)
    for key in (WHOLE, last):
        if key in found and not TITLES.intersection(found[key].scenes):
            return found[key]
    named = [root / title for title in SETS[name] if (root / title).is_dir()]
    places = [place for title in SETS[name] for place in (f"{title}/{split}", f"{split}/{title}")]
    for place in (*places, split, *(f"{title}/{last}" for title in SETS[name]), last):
        if (folder := root.joinpath(*place.split("/"))).is_dir():
            scenes = [sides for sides in find_scenes(folder) if sides.prefix.removesuffix("-") not in TITLES]
            if scenes:
                return _of_folders(folder, scenes)
    for folder in (*named, root):
        if list_layout := _lists_in(folder, name).get(last):
            return list_layout
        if (folder / last).is_dir() and (shared := _shared_target(folder, folder / last)):
            return shared
    return None


def find_sides(folder: Path) -> Sides | None:
    """The folders of both sides in a folder, or None.

    input/ and target/ come first; then, unless pictures lie beside them, other exact names (lq, gt), then names that
    have one as a word (train_blur, train_sharp). Raises UserError if several folders could be one side.
    """
    folders = _folders(folder)
    if {part.name for part in folders}.issuperset(SIDES):
        return Sides((folder / "input",), folder / "target")
    named = {side: [part for part in folders if part.name.lower() in names] for side, names in SIDE_NAMES.items()}
    worded = {side: [part for part in folders if _side_of(part.name) == side] for side in SIDES}
    if not all(worded.values()) or list_pictures(folder):
        return None
    for found in (named, worded):
        if not all(found.values()):
            continue
        for side, parts in found.items():
            if len(parts) > 1:
                raise UserError(
                    f"{folder}: {' and '.join(f'{part.name}/' for part in parts)} could both be the {side} side; "
                    f"rename the one that is meant to {side}/ and the others to something else"
                )
        return Sides((found["input"][0],), found["target"][0])
    return None


def find_scenes(folder: Path) -> list[Sides]:
    """The folder itself if it has both sides, else those of its folders that have, with their names in front.

    Raises UserError as find_sides does, and for a folder with one side among others that have both.
    """
    if sides := find_sides(folder):
        return [sides]
    scenes = {part: find_sides(part) for part in _folders(folder)}
    found = [dataclasses.replace(sides, prefix=f"{part.name}-") for part, sides in scenes.items() if sides]
    if found:
        names = (found[0].input[0].name, found[0].target.name)
        for part in (part for part, sides in scenes.items() if not sides):
            _refuse_one_side(part, names)
    return found


def require_pictures(folder: Path) -> None:
    """Raise UserError that says what a folder without pairs and pictures holds, and what would be understood."""
    if list_pictures(folder):
        return
    folders = _folders(folder)
    lonely = [part.name for part in folders if _side_of(part.name)]
    if len(lonely) == 1:
        _refuse_one_side(folder, lonely)
    if known := [part for part in folders if _is_understood(part)]:
        raise UserError(
            f"{folder}: no pictures in this folder, but pairs below it; name {' or '.join(map(str, known[:8]))}"
        )
    inside = f"its folders are {', '.join(f'{part.name}/' for part in folders[:8])}" if folders else "it has no folders"
    raise UserError(
        f"{folder}: no pictures in this folder; it needs files that end in {', '.join(images.SUFFIXES)}, or pairs in "
        f"folders ({inside}); {UNDERSTOOD}; rename yours, or name the folder that holds the pictures"
    )


def _is_understood(folder: Path) -> bool:
    try:
        return bool(find_layouts(folder))
    except UserError:
        return False


def _refuse_one_side(folder: Path, names: Sequence[str]) -> None:
    """Raise UserError if one of the folders with these names is in a folder, and none of the other side."""
    here = [name for name in names if (folder / name).is_dir()]
    if len({_side_of(name) for name in here}) == 1:
        missing = SIDES[1 - SIDES.index(_side_of(here[0]))]
        raise UserError(
            f"{folder}: {here[0]}/ is in it, and no folder {missing}/; pairs lie in {folder}/input/ and "
            f"{folder}/target/"
        )


def _side_of(name: str) -> str | None:
    words = set(re.split(r"[\W_]+", name.lower()))
    sides = [side for side, names in SIDE_NAMES.items() if words.intersection(names)]
    return sides[0] if len(sides) == 1 else None


def _folders(folder: Path) -> list[Path]:
    """The folders in a folder, sorted by name; hidden ones are left out. Raises UserError."""
    try:
        found = [part for part in folder.iterdir() if not part.name.startswith(".") and part.is_dir()]
    except OSError as error:
        raise UserError(f"{folder}: cannot be listed ({error.strerror}); check its permissions") from error
    return sorted(found, key=lambda part: part.name)


def _of_folders(folder: Path, groups: Sequence[Sides], spare_targets: bool = False) -> Layout:
    """`spare_targets`: targets without an input are no mistake, because other splits use the same folder."""
    input_name, target_name = groups[0].input[0].name, groups[0].target.name
    what = f"pairs in {input_name}/ and {target_name}/"
    if groups[0].prefix:
        what = f"pairs in {input_name}/ and {target_name}/ of {len(groups)} folders"

    def listed() -> Matched:
        inputs = [
            (f"{group.prefix}{name}", path)
            for group in groups
            for part in group.input
            for name, path in list_pictures(part, below=True)
        ]
        targets = [
            (f"{group.prefix}{name}", path)
            for group in groups
            for name, path in list_pictures(group.target, below=True)
        ]
        for files, name in ((inputs, input_name), (targets, target_name)):
            if not files:
                endings = ", ".join(images.SUFFIXES)
                raise UserError(f"{folder}: no pictures in {name}/; it needs files that end in {endings}")
        matched = match(inputs, targets)
        if spare_targets:
            used = {"input": matched.counts["input"], "target": len(matched.pairs)}
            matched = dataclasses.replace(matched, counts=used, alone={**matched.alone, "target": []})
        return matched

    return Layout(folder, what, listed, tuple(group.prefix.removesuffix("-") for group in groups if group.prefix))


def _shared_target(folder: Path, split: Path) -> Layout | None:
    """The pictures of a split, or of folders in it, whose partners lie in the one folder of targets beside it."""
    targets = [part for part in _folders(folder) if part.name.lower() in SIDE_NAMES["target"]]
    if len(targets) != 1:
        return None
    inputs = (split,) if list_pictures(split) else tuple(part for part in _folders(split) if list_pictures(part))
    known = {name for name, _ in list_pictures(targets[0])}
    if not any(name in known for part in inputs for name, _ in list_pictures(part)):
        return None
    layout = _of_folders(split, [Sides(inputs, targets[0])], spare_targets=True)
    return dataclasses.replace(layout, what=f"pictures with their partners in {targets[0].name}/")


def _find_lists(folder: Path, only: str | None) -> dict[str, Layout]:
    """Split -> the pairs of its list, which lies in the folder or, for one of the folders it names, beside that."""
    found = _lists_in(folder, only)
    if found or not isinstance(folder, Path):
        return found
    above = Path(os.path.abspath(folder))
    return _lists_in(above.parent, only, inside=above.name)


def _lists_in(folder: Path, only: str | None, inside: str | None = None) -> dict[str, Layout]:
    try:
        paths = sorted((path for path in folder.iterdir() if LIST.fullmatch(path.name)), key=lambda path: path.name)
    except OSError:
        return {}
    found: dict[str, dict[str, Layout]] = {}
    tops = {}
    for path in paths:
        name = LIST.fullmatch(path.name)
        if only is not None and _plain(name["set"]) != _plain(only):
            continue
        lines = _read_list(path)
        if inside is not None:
            lines = [line for line in lines if line["target"].parts[0] == inside]
        if lines:
            tops[name["set"]] = lines[0]["target"].parts[0]
            found.setdefault(name["set"], {})[name["split"].lower()] = _of_list(folder, path, lines)
    if len(found) > 1:
        raise UserError(
            f"{folder}: lists of {' and '.join(found)} are in it; name the folder of one: "
            f"{' or '.join(str(folder / top) for top in tops.values())}"
        )
    return next(iter(found.values()), {})


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.lower())


def _read_list(path: Path) -> list[dict[str, PurePosixPath]]:
    """The files of both sides, line by line; the target comes first unless its folder's name says otherwise.

    Raises UserError for a line with less than two paths, or with one that leads out of the list's folder.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: cannot be read ({error}); download it again") from error
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words:
            continue
        files = [PurePosixPath(word.replace("\\", "/")) for word in words[:2]]
        if len(files) < 2 or any(file.is_absolute() or ".." in file.parts or not file.parts for file in files):
            raise UserError(f"{path}, line {number}: not two paths inside this folder, target and input; correct it")
        if _side_of(files[0].parent.name) == "input":
            files.reverse()
        found.append({"target": files[0], "input": files[1]})
    return found


def _of_list(folder: Path, path: Path, lines: Sequence[dict[str, PurePosixPath]]) -> Layout:
    def listed() -> Matched:
        pairs, alone, missing, shared = {}, {side: [] for side in SIDES}, [], []
        for line in lines:
            files = {side: folder.joinpath(*file.parts) for side, file in line.items()}
            here = [side for side in SIDES if files[side].is_file() or is_link(files[side])]
            scene, number = line["target"].parent.parent.name, key_of(line["target"].stem)
            name = f"{scene}-{number}" if scene else number
            if len(here) == 2 and name in pairs:
                shared.append((name, [pairs[name].target, files["target"]]))
            elif len(here) == 2:
                pairs[name] = Pair(name, **files)
            elif here:
                alone[here[0]].append(files[here[0]])
            else:
                missing.append(str(line["target"]))
        if not pairs:
            raise UserError(
                f"{path}: none of the {len(lines)} pairs that it lists is in {folder}; unpack the pictures beside it"
            )
        counts = {side: len(pairs) + len(alone[side]) for side in SIDES}
        return Matched([pairs[name] for name in sorted(pairs)], counts, alone, shared, missing)

    return Layout(folder, f"pairs listed in {path.name}", listed)

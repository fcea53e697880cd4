"""What a folder of training pictures holds, what is wrong with it file by file, and what would be trained on.

Pictures are found, matched and decoded by the code that training uses; so what counts as usable here is what training
takes, grey and 16-bit pictures included.
"""

import dataclasses
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from mprnet_jax import images
from mprnet_jax.data.sources import built_sets, layouts, open_folder
from mprnet_jax.data.sources.pairs import SIDES, Matched, headers, shown
from mprnet_jax.data.sources.source import CleanPhotos, Pairs, Source
from mprnet_jax.images.headers import Header, header_of
from mprnet_jax.support.errors import UserError
from mprnet_jax.support.words import counted

LISTED = 4  # sizes and modes that are told apart; the rest is summed up
CONVERTED = "are converted on reading, to RGB of 8 bits"


@dataclasses.dataclass
class Findings:
    """The result of a check. `usable` holds height and width, in pixels, of what can be trained on as it is."""

    title: str
    held: list[str] = dataclasses.field(default_factory=list)
    wrong: list[str] = dataclasses.field(default_factory=list)
    usable: list[tuple[int, int]] = dataclasses.field(default_factory=list)


def check_folder(folder: Path) -> Findings:
    """Decode every picture. Raises UserError if there is no such folder or nothing in it that is understood."""
    if found := open_folder.find_matched(folder):
        return _check_pairs(folder, *found)
    if dataset := built_sets.find_dataset(folder):
        return _check_dataset(folder, dataset)
    return _check_photos(folder)


def can_be_trained_on(findings: Findings, batch_size: int, crops: int) -> bool:
    """Whether an epoch has a batch, and nothing stops the training."""
    return not findings.wrong and len(findings.usable) * crops >= batch_size


def report(findings: Findings, patch_size: int, batch_size: int, crops: int) -> list[str]:
    """Lines to print."""
    lines = [findings.title, *(f"  {line}" for line in findings.held)]
    if findings.wrong:
        lines += [f"wrong: {len(findings.wrong)}", *(f"  {line}" for line in findings.wrong)]
    total = len(findings.usable) * crops
    lines.append(
        f"would be trained on: {len(findings.usable)} {'once this is mended' if findings.wrong else 'in all'}, "
        f"{counted(crops, 'crop')} of {patch_size} px of each an epoch: "
        f"{counted(total // batch_size, 'step')} of batch {batch_size}"
    )
    if total < batch_size:
        lines.append("  fewer than one batch: choose a smaller batch or more crops of each")
    small = sum(min(size) < patch_size for size in findings.usable)
    if small:
        lines.append(f"  {small} smaller than the crop: they are padded by reflection")
    return lines


def _in_threads(function: Callable, items: Iterable) -> list:
    items = list(items)
    with ThreadPoolExecutor(os.cpu_count()) as threads:  # decoders let other threads run
        return list(tqdm(threads.map(function, items), total=len(items), unit="file", desc="reading", leave=False))


def _read_all(source: Source, findings: Findings, folder: Path) -> None:
    """Read all pictures of a source, as training does, into what is usable and what is wrong."""

    def read(picture: int) -> tuple[int, int] | str:
        try:
            return source.read(picture)["target"].shape[:2]
        except UserError as error:
            return str(error).replace(f"{folder}{os.sep}", "")

    results = _in_threads(read, range(len(source.names)))
    findings.usable += [result for result in results if not isinstance(result, str)]
    findings.wrong += [result for result in results if isinstance(result, str)]


def _header(path: Path) -> Header | None:
    try:
        return header_of(path)
    except UserError:  # said when the picture is read
        return None


def _counts(found: Sequence[Header | None]) -> str:
    """ "2103 pictures: 1280x720 (2103); RGB (2103)"."""
    known = [header for header in found if header is not None]
    columns = []
    for values in ([header.size for header in known], [header.mode for header in known]):
        common = Counter(values).most_common()
        shown_values = [f"{value} ({count})" for value, count in common[:LISTED]]
        if len(common) > LISTED:
            shown_values.append(f"{len(common) - LISTED} others ({sum(count for _, count in common[LISTED:])})")
        columns.append(", ".join(shown_values) or "none readable")
    converted = sum(header.kind != "RGB" or header.bits > 8 for header in known)
    note = f"; {converted} {CONVERTED}" if converted else ""
    return f"{counted(len(found), 'picture')}: {'; '.join(columns)}{note}"


def _check_photos(folder: Path) -> Findings:
    layouts.require_pictures(folder)
    paths = images.find(folder)
    findings = Findings(f"{folder}: clean pictures, to be degraded on the fly", [_counts(_in_threads(_header, paths))])
    if below := open_folder.unused_below(folder):
        findings.held.append(f"{counted(below, 'picture')} in folders below: not used; move them up to use them")
    _read_all(CleanPhotos(paths), findings, folder)
    return findings


def _check_pairs(folder: Path, what: str, matched: Matched) -> Findings:
    findings = Findings(f"{folder}: {what}")
    for side, other in (SIDES, SIDES[::-1]):
        alone = f"; {len(matched.alone[side])} more without a partner" if matched.alone[side] else ""
        found = _in_threads(_header, [getattr(pair, side) for pair in matched.pairs])
        findings.held.append(f"{side}: {_counts(found)}{alone}")
        findings.wrong += [f"{shown(path)}: no partner among the {other} images" for path in matched.alone[side]]
    for name, paths in matched.shared:
        findings.wrong.append(f"{', '.join(map(shown, paths))}: all called {name}; keep one")
    findings.wrong += [f"{name}: listed, and not there" for name in matched.missing]
    sound = []
    for pair in matched.pairs:
        try:
            headers(pair)  # before anything is decoded, as training does
            sound.append(pair)
        except UserError as error:
            findings.wrong.append(str(error).replace(f"{folder}{os.sep}", ""))
    _read_all(Pairs(sound), findings, folder)
    return findings


def _check_dataset(folder: Path, dataset: Path) -> Findings:
    source = open_folder.open_source(folder)
    findings = Findings(f"{dataset}: a built dataset, split {source.split}, {counted(len(source.names), 'pair')}")
    _read_all(source, findings, folder)
    return findings

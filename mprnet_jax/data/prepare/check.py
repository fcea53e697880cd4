"""What a folder of training pictures holds, what is wrong with it file by file, and what would be trained on."""

import dataclasses
import os
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from mprnet_jax import images
from mprnet_jax.data.sources.open_folder import kind_of, open_source
from mprnet_jax.data.sources.pairs import SIDES, Pair, match_by_stem
from mprnet_jax.images.headers import Header, header_of
from mprnet_jax.support.errors import UserError

LISTED = 4  # sizes and modes that are told apart; the rest is summed up


@dataclasses.dataclass
class Findings:
    """The result of a check. `usable` holds the header of each picture or pair that can be trained on as it is."""

    title: str
    held: list[str] = dataclasses.field(default_factory=list)
    wrong: list[str] = dataclasses.field(default_factory=list)
    usable: list[Header] = dataclasses.field(default_factory=list)


def check_folder(folder: Path) -> Findings:
    """Decode every picture. Raises UserError if there is no such folder or no picture in it."""
    kind = kind_of(folder)
    if kind == "pairs":
        return _check_pairs(folder)
    return _check_dataset(folder) if kind == "dataset" else _check_photos(folder)


def report(findings: Findings, patch_size: int, batch_size: int, crops: int) -> list[str]:
    """Lines to print."""
    lines = [findings.title, *(f"  {line}" for line in findings.held)]
    if findings.wrong:
        lines += [f"wrong: {len(findings.wrong)}", *(f"  {line}" for line in findings.wrong)]
    total = len(findings.usable) * crops
    lines.append(
        f"would be trained on: {len(findings.usable)} {'once this is mended' if findings.wrong else 'in all'}, "
        f"{crops} crop{'s' * (crops > 1)} of {patch_size} px of each an epoch: "
        f"{total // batch_size} steps of batch {batch_size}"
    )
    if total < batch_size:
        lines.append("  fewer than one batch: choose a smaller batch or more crops of each")
    small = sum(min(header.height, header.width) < patch_size for header in findings.usable)
    if small:
        lines.append(f"  {small} smaller than the crop: they are padded by reflection")
    return lines


def _in_threads(function: Callable, items: Iterable) -> list:
    items = list(items)
    with ThreadPoolExecutor(os.cpu_count()) as threads:  # decoders let other threads run
        return list(tqdm(threads.map(function, items), total=len(items), unit="file", desc="reading", leave=False))


def check_picture(path: Path) -> tuple[Header | None, str | None]:
    """Its header, if it has one, and what is wrong with it, if anything is. Other people's paths are left out."""
    try:
        header = header_of(path)
    except UserError as error:
        return None, str(error).removeprefix(f"{path}: ")
    try:
        images.read(path)
    except UserError as error:
        return header, str(error).removeprefix(f"{path}: ")
    if header.bits > 8:
        return header, f"{header.mode}: would be rounded to 8; convert it yourself, or training sees other values"
    if header.kind != "RGB":
        return header, f"{header.kind}, not RGB; convert it"
    return header, None


def _counts(headers: Iterable[Header | None]) -> str:
    """ "2103 pictures: 1280x720 (2103); RGB (2103)"."""
    headers = list(headers)
    known = [header for header in headers if header is not None]
    columns = []
    for values in ([header.size for header in known], [header.mode for header in known]):
        common = Counter(values).most_common()
        shown = [f"{value} ({count})" for value, count in common[:LISTED]]
        if len(common) > LISTED:
            shown.append(f"{len(common) - LISTED} others ({sum(count for _, count in common[LISTED:])})")
        columns.append(", ".join(shown) or "none readable")
    return f"{len(headers)} pictures: {'; '.join(columns)}"


def _check_photos(folder: Path) -> Findings:
    findings = Findings(f"{folder}: clean pictures, to be degraded on the fly")
    paths = images.find(folder)
    results = _in_threads(check_picture, paths)
    findings.held.append(_counts(header for header, _ in results))
    for path, (header, problem) in zip(paths, results, strict=True):
        if problem:
            findings.wrong.append(f"{path.name}: {problem}")
        else:
            findings.usable.append(header)
    return findings


def _check_pairs(folder: Path) -> Findings:
    findings = Findings(f"{folder}: pairs in input/ and target/")
    matched = match_by_stem(folder)
    for side, other in (SIDES, SIDES[::-1]):
        findings.wrong += [f"{side}/{path.name}: no partner in {other}/" for path in matched.alone[side]]
    results = _in_threads(_check_pair, matched.pairs)
    for number, side in enumerate(SIDES):
        alone = f"; {len(matched.alone[side])} more without a partner" if matched.alone[side] else ""
        findings.held.append(f"{side}/: {_counts(sides[number][0] for sides in results)}{alone}")
    for pair, sides in zip(matched.pairs, results, strict=True):
        wrong = [
            f"{side}/{getattr(pair, side).name}: {problem}"
            for side, (_, problem) in zip(SIDES, sides, strict=True)
            if problem
        ]
        sizes = [header.size for header, _ in sides if header]
        if len(set(sizes)) > 1:
            wrong.append(f"{pair.name}: sizes differ, input is {sizes[0]}, target {sizes[1]}")
        findings.wrong += wrong
        if not wrong:
            findings.usable.append(sides[0][0])
    return findings


def _check_pair(pair: Pair) -> tuple[tuple, tuple]:
    return check_picture(pair.input), check_picture(pair.target)


def _check_dataset(folder: Path) -> Findings:
    source = open_source(folder)
    findings = Findings(f"{folder}: a built dataset, split train")

    def check(picture: int) -> Header | str:
        try:
            height, width, _ = source.read(picture)["target"].shape
        except UserError as error:
            return str(error)
        return Header(height, width, "RGB", 8)

    results = _in_threads(check, range(len(source.names)))
    findings.usable = [result for result in results if isinstance(result, Header)]
    findings.wrong = [result for result in results if isinstance(result, str)]
    findings.held.append(f"pairs, {_counts(findings.usable)}")
    return findings

"""Results as text: one result beside the published numbers, and the paper's table with a column for each run."""

import math
from collections.abc import Sequence

from mprnet_jax.evaluation.protocols import DERAINING_MEAN, LABELS, PROTOCOLS
from mprnet_jax.evaluation.results import Result
from mprnet_jax.support.errors import one_line


def number(column: str, value: float | None, signed: bool = False) -> str:
    """A score as papers print it, one digit more: dB with 3 digits, SSIM with 4."""
    if value is None or math.isnan(value):
        return "-"
    digits = 4 if column.startswith("ssim") else 3
    return f"{value:{'+' if signed else ''}.{digits}f}"


def options_text(options: dict[str, object]) -> str:
    """Options of a run as text for a table."""
    return ", ".join(f"{key} {value}" for key, value in options.items())


def lines_up(rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells as lines: the first column to the left, the others to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    align = lambda cell, i: cell.rjust(widths[i]) if i else cell.ljust(widths[i])
    return "\n".join("  ".join(align(cell, i) for i, cell in enumerate(row)).rstrip() for row in rows)


def summary_rows(result: Result) -> list[list[str]]:
    """Head, measured, published, difference; the last two are left out where there is nothing published."""
    columns = result.columns
    rows = [["", *(LABELS[name] for name in columns)]]
    rows.append(["measured", *(number(name, result.mean(name)) for name in columns)])
    if result.published:
        published = dict(zip(columns, result.published, strict=False))
        rows.append(["published", *(number(name, published.get(name)) for name in columns)])
        differences = {name: result.mean(name) - value for name, value in published.items()}
        label = "difference" if result.comparable else "difference (*)"
        rows.append([label, *(number(name, differences.get(name), signed=True) for name in columns)])
    return rows


def summary(result: Result) -> str:
    """What a user reads at the end of a run."""
    lines = [f"{one_line(result.label)}: {result.verdict}"]
    if result.columns:
        lines.append(lines_up(summary_rows(result)))
        if result.published and not result.comparable:
            lines.append("(*) not comparable: another number of pairs than the paper's")
    by = result.restored_by
    if by.share_of_compute is not None and by.operations is not None:
        lines.append(
            f"compute: {by.share_of_compute:.1%} of the whole network ({by.operations / 1e9:.1f} GFLOP at 256 x 256)"
        )
    if by.restore_seconds_median is not None:
        lines.append(f"restoring: {by.restore_seconds_median:.3f} s an image (median, without the first)")
    return "\n".join([*lines, *result.notes])


def results_table(results: Sequence[Result]) -> str:
    """Several results on one set: a row for each, with the cost where it is known."""
    first = results[0]
    columns = list(dict.fromkeys(column for result in results for column in result.columns))
    rows = [["run", "pairs", *(LABELS[column] for column in columns), "compute", "s an image"]]
    for result in results:
        share, seconds = result.restored_by.share_of_compute, result.restored_by.restore_seconds_median
        cost = ["-" if share is None else f"{share:.1%}", "-" if seconds is None else f"{seconds:.3f}"]
        means = (number(name, result.mean(name) if name in result.columns else None) for name in columns)
        rows.append([one_line(result.label), result.scored, *means, *cost])
    if first.published:
        published = dict(zip(columns, first.published, strict=False))
        pairs = f"{PROTOCOLS[first.protocol].pairs:,}"
        rows.append(["published", pairs, *(number(name, published.get(name)) for name in columns), "-", "-"])
    verdicts = list(dict.fromkeys(result.verdict for result in results))
    head = verdicts[0] if len(verdicts) == 1 else PROTOCOLS[first.protocol].title
    lines = [head, lines_up(rows)]
    if len({result.scored for result in results}) > 1:
        lines.append("the runs were not scored on the same pairs, so their means do not compare; see --compare")
    return "\n".join(lines)


def _cell(psnr: float, ssim: float) -> str:
    return f"{psnr:.2f} / {ssim:.3f}"


def _deraining_mean(results: Sequence[Result], label: str) -> str:
    names = [name for name, protocol in PROTOCOLS.items() if protocol.task == "deraining"]
    mine = {result.protocol: result for result in results if result.label == label}
    if not all(name in mine and mine[name].images for name in names):
        return "-"
    psnr, ssim = (sum(mine[name].mean(column) for name in names) / len(names) for column in ("psnr_y", "ssim_index_y"))
    return _cell(psnr, ssim) + ("" if all(mine[name].comparable for name in names) else " *")


def paper_table(results: Sequence[Result]) -> str:
    """PSNR / SSIM: a row for each set, the published numbers, and a column for each run."""
    labels = list(dict.fromkeys(result.label for result in results))
    by_key = {(result.protocol, result.label): result for result in results}
    rows = [["set", "pairs", "published", *map(one_line, labels)]]
    for name, protocol in PROTOCOLS.items():
        on_set = [result for result in results if result.protocol == name]
        if not on_set:
            continue
        cells = []
        for label in labels:
            result = by_key.get((name, label))
            if result is None or not result.images:
                cells.append("-")
            elif protocol.score is None:
                cells.append("by the server")
            else:
                psnr, ssim = (result.mean(column) for column in protocol.columns[:2])
                cells.append(_cell(psnr, ssim) + ("" if result.comparable or protocol.pairs is None else " *"))
        published = _cell(*protocol.published) if protocol.published else "-"
        scored = " and ".join(dict.fromkeys(result.scored for result in on_set))
        rows.append([protocol.title, scored, published, *cells])
    if any(PROTOCOLS[result.protocol].task == "deraining" for result in results):
        means = [_deraining_mean(results, label) for label in labels]
        rows.append(["mean of the five deraining sets", "", _cell(*DERAINING_MEAN), *means])
    text = lines_up(rows)
    return text + "\n* another number of pairs than the paper's: not comparable" if " *" in text else text

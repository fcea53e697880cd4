"""Which items of a list a page shows."""

from collections.abc import Sequence

import numpy as np


def highest_median_lowest(values: Sequence[float], names: tuple[str, str, str]) -> dict[str, int]:
    """Where the highest, the median and the lowest value lie, by the three names; one item stands once.

    Of an even number, the lower of the two in the middle is the median. Two items have no median, one is the highest.

    >>> highest_median_lowest([30.0, 35.0, 25.0], ("best", "median", "worst"))
    {'best': 1, 'median': 0, 'worst': 2}
    >>> highest_median_lowest([30.0, 35.0], ("best", "median", "worst"))
    {'best': 1, 'worst': 0}
    """
    order = np.argsort(values, kind="stable").tolist()
    ends = list(dict.fromkeys((order[-1], order[0])))
    middle = [order[(len(order) - 1) // 2]] if len(order) > 2 else []
    highest, median, lowest = names
    return dict(zip((highest, *[median] * len(middle), lowest), (ends[0], *middle, *ends[1:]), strict=False))

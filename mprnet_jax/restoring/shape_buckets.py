"""A few shapes that images of many sizes are padded to, so that a few programs serve them all. NumPy only."""

from collections import Counter
from collections.abc import Iterable

import numpy as np

from mprnet_jax.model import SIZE_MULTIPLE
from mprnet_jax.restoring.padding import up_to_multiple

Shape = tuple[int, int]  # height, width
FINE = 256  # shapes that are merged pair by pair; more are rounded up first


def choose_shapes(sizes: Iterable[Shape], count: int) -> tuple[Shape, ...]:
    """At most `count` shapes, one of which holds each of the sizes, with little padding over all of them.

    The two shapes whose merging adds the fewest pixels are merged, repeatedly: not always the best choice, but near.

    >>> choose_shapes([(100, 150), (104, 152), (480, 640), (640, 480)], 3)
    ((104, 152), (480, 640), (640, 480))
    >>> choose_shapes([(100, 150), (104, 152), (480, 640), (640, 480)], 2)
    ((104, 152), (640, 640))
    """
    if count < 1:
        raise ValueError(f"the number of shapes must be at least 1, got {count}")
    sizes = list(sizes)
    multiple = SIZE_MULTIPLE
    images = _rounded(sizes, multiple)
    while len(images) > max(FINE, count):
        multiple *= 2
        images = _rounded(sizes, multiple)
    shapes = np.array(list(images), dtype=np.int64).reshape(-1, 2)
    numbers = np.array(list(images.values()), dtype=np.int64)
    while len(shapes) > count:
        pixels = numbers * shapes.prod(axis=1)
        merged = np.maximum(shapes[:, None], shapes[None]).prod(axis=2) * (numbers[:, None] + numbers[None])
        added = (merged - pixels[:, None] - pixels[None]).astype(float)
        np.fill_diagonal(added, np.inf)
        first, second = np.unravel_index(np.argmin(added), added.shape)
        shapes[first] = np.maximum(shapes[first], shapes[second])
        numbers[first] += numbers[second]
        shapes, numbers = np.delete(shapes, second, axis=0), np.delete(numbers, second)
    return tuple(sorted((int(h), int(w)) for h, w in shapes))


def smallest_fitting(shapes: Iterable[Shape], height: int, width: int) -> Shape | None:
    """The shape of the fewest pixels that holds an image; None if none does.

    >>> shapes = [(104, 152), (480, 640), (640, 640)]
    >>> smallest_fitting(shapes, 200, 300), smallest_fitting(shapes, 700, 10)
    ((480, 640), None)
    """
    fitting = [(h * w, h, w) for h, w in shapes if h >= height and w >= width]
    return min(fitting)[1:] if fitting else None


def _rounded(sizes: list[Shape], multiple: int) -> Counter[Shape]:
    return Counter((up_to_multiple(h, multiple), up_to_multiple(w, multiple)) for h, w in sizes)

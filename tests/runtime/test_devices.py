"""How many parts a CPU is cut into: by what there is to restore."""

import jax
import pytest

from mprnet_jax.runtime import devices
from mprnet_jax.support.errors import UserError

pytestmark = pytest.mark.skipif(jax.default_backend() != "cpu", reason="about CPUs")


@pytest.mark.parametrize(
    ("count", "pictures", "tiled_pixels", "found"),
    [
        pytest.param(None, 1, 0, 1, id="one small picture"),
        pytest.param(None, 7, 0, 1, id="a few"),
        pytest.param(None, 8, 0, 2, id="four for each core"),
        pytest.param(None, 1, 12_000_000, 2, id="a large picture in tiles"),
        pytest.param(None, 1, 2_000_000, 1, id="too few tiles"),
        pytest.param(1, 1, 12_000_000, 1, id="as asked"),
    ],
)
def test_a_core_is_a_device_where_there_is_enough_for_each(monkeypatch, count, pictures, tiled_pixels, found):
    monkeypatch.setattr(devices, "cores", lambda: 2)
    assert devices.find_devices(count, pictures, tiled_pixels) == tuple(range(found))


def test_more_devices_than_there_are_is_told():
    with pytest.raises(UserError, match=r"--devices 99: there are only \d+; give fewer, or all"):
        devices.find_devices(99, pictures=1)

import numpy as np
import pytest

from mprnet_jax.checkpoints import provenance
from mprnet_jax.restoring.orientations import ORIENTATIONS, turn, turned_part


@pytest.mark.parametrize("quarters", range(4))
@pytest.mark.parametrize("flipped", [False, True])
def test_a_turned_part_is_the_part_of_the_turned_image_and_turns_back(quarters, flipped):
    image = np.arange(5 * 9).reshape(5, 9, 1)
    part = slice(1, 4), slice(6, 8)
    there = turn(image, quarters, flipped)[turned_part(part, (5, 9), quarters, flipped)]
    np.testing.assert_array_equal(there, turn(image[part], quarters, flipped))
    np.testing.assert_array_equal(turn(there, quarters, flipped, back=True), image[part])


def test_the_orientations_that_a_bundle_can_name_are_these_eight():
    assert set(provenance.ORIENTATIONS) == set(ORIENTATIONS)
    assert provenance.Provenance(task="deraining").unchanged_under == ("rot0", "rot0_flip")

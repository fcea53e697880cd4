"""A run that is killed again and again ends as one that was not."""

import numpy as np
import pytest
from attacks.kills import PHOTOS, kill_again_and_again

from mprnet_jax import images

KILLS = 5


@pytest.mark.slow
def test_a_run_killed_five_times_gives_the_bits_and_the_log_of_one_that_was_not(tmp_path, photo):
    for i in range(PHOTOS):
        images.write(tmp_path / "photos" / f"{i}.png", np.roll(photo, 9 * i, axis=1))
    outcome = kill_again_and_again(tmp_path, KILLS, lambda: None)
    assert outcome.same_bits
    assert outcome.same_log
    # The first one or two may strike before the first checkpoint is whole.
    assert outcome.resumed >= KILLS - 2

"""Learning rates against the check values of the official scheduler."""

import numpy as np
import pytest

from mprnet_jax.training.optimizer import epoch_schedule, step_schedule

# recipe: (cosine_epochs, steps an epoch, {epoch from 1: learning rate}); obtained by running the official scheduler
OFFICIAL = {
    "deblurring": (2997, 132, {1: 2e-4 / 3, 2: 4e-4 / 3, 3: 2e-4, 4: 2e-4, 500: 1.868515e-4, 3000: 1.000055e-6}),
    "deraining": (247, 857, {100: 1.345971e-4, 250: 1.008048e-6}),
    "denoising": (117, 6000, {40: 1.570224e-4, 80: 5.544701e-5}),
}


@pytest.mark.parametrize("recipe", OFFICIAL)
def test_the_epoch_schedule_gives_the_official_values_at_an_epochs_first_and_last_step(recipe):
    cosine_epochs, steps, values = OFFICIAL[recipe]
    schedule = epoch_schedule(2e-4, 1e-6, 3, cosine_epochs, steps)
    for epoch, value in values.items():
        np.testing.assert_allclose(float(schedule((epoch - 1) * steps)), value, rtol=1e-5)
        np.testing.assert_allclose(float(schedule(epoch * steps - 1)), value, rtol=1e-5)


def test_without_warm_up_the_first_epoch_has_the_peak():
    assert float(epoch_schedule(2e-4, 1e-6, 0, 10, 5)(0)) == pytest.approx(2e-4)


def test_the_step_schedule_rises_and_ends_where_it_should():
    schedule = step_schedule(1e-3, 1e-5, 10, 100)
    assert [float(schedule(step)) for step in (0, 5, 10, 100, 200)] == pytest.approx([0, 5e-4, 1e-3, 1e-5, 1e-5])
    assert float(step_schedule(1e-3, 1e-5, 0, 100)(0)) == pytest.approx(1e-3)

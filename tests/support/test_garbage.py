"""Loading without looking for garbage: only while it is asked for, also if loading fails."""

import gc

import pytest

from mprnet_jax.support.garbage import uncollected


def test_garbage_is_looked_for_again_afterwards_also_after_an_error():
    with uncollected():
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(KeyError), uncollected():
        raise KeyError
    assert gc.isenabled()


def test_a_caller_that_had_switched_it_off_keeps_it_off():
    gc.disable()
    try:
        with uncollected():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()

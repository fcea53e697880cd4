"""The folder of the page: what is worked on stays until it is done, however long that takes."""

import time

from mprnet_jax.web.store import RESTORED, Store


def test_nothing_of_a_visit_is_swept_while_its_photos_are_worked_on(tmp_path):
    store = Store(tmp_path, keep_seconds=60, most_bytes=1000)
    waiting, foreign = (store.home / name / "photo.png" for name in ("waiting", "foreign"))
    for path in (waiting, foreign):
        path.parent.mkdir()
        path.touch()
    store.visit("another", foreign)
    visit = store.visit("visitor", waiting)
    with visit.run() as (folder, _):
        with visit.run() as (empty, _):
            store.sweep(time.time() + 61)
            assert empty.exists()
        done = folder / RESTORED / "done.png"
        done.touch()
        store.sweep(time.time() + 61)
        assert waiting.exists()
        assert done.exists()
        assert not foreign.exists()
        assert store.visit("visitor") is visit
    store.sweep(time.time() + 59)  # from here on its time runs
    assert waiting.exists()
    assert done.exists()
    store.sweep(time.time() + 61)
    assert not waiting.exists()
    assert not done.exists()

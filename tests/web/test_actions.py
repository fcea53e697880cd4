"""Several photos at once: one after another, each on the page when it is done; one that fails keeps no other back."""

import threading
import types

import gradio as gr
import numpy as np
import pytest

from mprnet_jax import images
from mprnet_jax.model import init_params
from mprnet_jax.restoring import RestoreOptions, Restorer
from mprnet_jax.web.actions import Page
from mprnet_jax.web.models import Model
from mprnet_jax.web.photos import Limits
from mprnet_jax.web.store import Store
from tests.helpers.tiny import TINY

OPTIONS = ("other", "tiny", 1, 1, False, False)  # task, model, stage, strength, TLC, self-ensemble
SLIDER, CLICK, ABOUT, DOWNLOAD, LISTED, ALL = range(6)


@pytest.fixture(scope="module")
def restorer():
    return Restorer(TINY, init_params(TINY, seed=0), {}, RestoreOptions(tile=32))


@pytest.fixture
def page(tmp_path, restorer):
    return Page([Model("tiny", "other", restorer)], Store(tmp_path, 60, 10**7), Limits(0.01, 1))


@pytest.fixture
def send(page, photo):
    """Put a picture, or bytes, into the store as an upload: what the page then sends for it."""

    def send(name, content=0):
        (folder := page.store.home / f"upload{len(list(page.store.home.iterdir()))}").mkdir()
        if isinstance(content, bytes):
            (folder / name).write_bytes(content)
        else:
            images.write(folder / name, photo[content : content + 32, :32])
        return {"path": str(folder / name), "meta": {"_type": "gradio.FileData"}}

    return send


def visitor(session="visitor"):
    return types.SimpleNamespace(session_hash=session)


class Progress:
    """Keeps what is told; `on` is called with the number of what was told."""

    def __init__(self, on=lambda number: None):
        self.told, self.on = [], on

    def __call__(self, progress, desc, unit=None):
        self.told.append(desc)
        self.on(len(self.told))


def restore(page, chosen, progress=None, who=None):
    return page.restore_all(chosen, *OPTIONS, who or visitor(), progress or Progress())


def click(index):
    return types.SimpleNamespace(index=index)


def shown(update):
    """The pictures on the slider."""
    return [images.read(side) for side in update["value"]]


def test_each_photo_is_on_the_page_as_soon_as_it_is_done(page, send, photo, restorer):
    chosen, progress = [send(f"{number}.png", number) for number in range(3)], Progress()
    for number, view in enumerate(restore(page, chosen, progress), 1):
        assert view[ABOUT].startswith(f"{number} of 3 photos are restored.")
        assert progress.told[-1] == f"Photo {number} of 3: Restoring"
        assert [name for _, name in view[LISTED]["value"]] == [f"\u2713 {i}.png" for i in range(number)]
        assert view[ALL]["visible"] is (number > 1)
        assert ("value" in view[SLIDER]) is (number == 1)  # the first stays on the slider
    (folder,) = page.store.home.glob("results/*/*/restored")
    assert f'href="{folder.parent.relative_to(page.store.home)}/restored_photos.zip" download' in view[ALL]["value"]
    assert sorted(path.name for path in folder.iterdir()) == [f"{number}_restored.png" for number in range(3)]
    once = restorer.with_options(stages=1)
    for number in range(3):
        np.testing.assert_array_equal(
            images.read(folder / f"{number}_restored.png"), once(photo[number : number + 32, :32])
        )


def test_one_that_cannot_be_read_is_a_line_and_the_others_are_done(page, send):
    chosen = [send("text.png", b"no picture"), send("a.png"), send("large.png", b""), send("b.png", 9)]
    *_, view = restore(page, chosen)
    lines = view[ABOUT].splitlines()
    assert lines[0] == "2 of 4 photos are restored."
    assert lines[1].startswith("text.png: not a picture in a format that can be read")
    assert lines[2].startswith("large.png: empty file")
    assert lines[3].startswith("a.png: 32 x 32 pixels")
    assert len(lines) == 4
    assert [name for _, name in view[LISTED]["value"]] == ["\u2713 a.png", "\u2713 b.png"]
    assert str(page.store.home) not in view[ABOUT]


def test_what_is_too_large_is_refused_before_it_is_decoded(page, send, photo):
    images.write(page.store.home / "large.png", np.zeros((101, 100, 3), np.uint8))
    large = {"path": str(page.store.home / "large.png")}
    *_, view = restore(page, [large, send("a.png")])
    assert "large.png: 100x101 is more than 0.01 megapixels" in view[ABOUT]
    assert view[ABOUT].startswith("1 of 2")


def test_photos_of_one_name_have_results_of_different_names(page, send):
    list(restore(page, [send("a.png"), send("A.png", 3), send("a.png", 5)]))
    (folder,) = page.store.home.glob("results/*/*/restored")
    assert sorted(path.name for path in folder.iterdir()) == ["A_restored_2.png", "a_restored.png", "a_restored_3.png"]


def test_one_photo_is_as_before_no_list_and_a_fault_is_told_at_once(page, send):
    (view,) = restore(page, [send("a.png")])
    assert view[ABOUT] == "32 x 32 pixels; PNG, 8 bits a channel"
    assert view[LISTED]["visible"] is view[ALL]["visible"] is False
    assert view[DOWNLOAD]["interactive"]
    assert view[DOWNLOAD]["value"].endswith("/a_restored.png")
    with pytest.raises(gr.Error, match="text.png: not a picture"):
        list(restore(page, [send("text.png", b"no picture")]))


@pytest.mark.parametrize(
    ("chosen", "why"),
    [
        (None, "choose a photo first"),
        ([], "choose a photo first"),
        ("a.png", "choose a photo first"),
        ([None], "choose a photo first"),
        ([{"path": ["x"]}], "choose a photo first"),
        ([{"path": "a.png"}] * 21, "at most 20 photos at once, and these are 21; take some off the list"),
    ],
)
def test_what_is_no_choice_of_photos_is_refused(page, chosen, why):
    with pytest.raises(gr.Error, match=why):
        list(restore(page, chosen))
    (view,) = page.look(chosen, visitor())
    assert view[ABOUT] in (why, "")


def test_stop_ends_the_rest_and_what_is_done_can_still_be_had(page, send):
    chosen = [send(f"{number}.png", number) for number in range(3)]
    told = threading.Event()

    def stop(number):
        if told.is_set():
            page.stop(visitor())

    views = []
    for view in restore(page, chosen, Progress(stop)):
        views.append(view)
        told.set()
    assert len(views) == 1
    assert page.pick(visitor(), click(0))[DOWNLOAD]["value"].endswith("/0_restored.png")


def test_a_full_store_is_told_and_makes_no_more_results(page, send):
    chosen = [send("a.png"), send("b.png")]
    full = page.store.home / "other"
    full.write_bytes(bytes(10**7))
    (first, last) = restore(page, chosen)
    assert "a.png: too many photos are here at the moment" in first[ABOUT]
    assert "b.png: too many photos are here at the moment" in last[ABOUT]
    assert list(page.store.home.glob("results/*/*/restored/*")) == []


def test_chosen_photos_are_shown_with_what_they_are_and_go_with_the_visit(page, send):
    chosen = [send("text.png", b"no picture"), send("a.png"), send("b.png", 9)]
    views = list(page.look(chosen, visitor()))
    assert [len(view[LISTED]["value"]) for view in views] == [0, 1, 2]
    assert views[0][SLIDER]["value"] is None
    before, after = shown(views[1][SLIDER])
    np.testing.assert_array_equal(before, after)
    assert views[1][SLIDER]["elem_classes"] == []  # the two sides are one, and not named
    assert views[2][ABOUT].splitlines()[1] == "a.png: 32 x 32 pixels; PNG, 8 bits a channel"
    page.store.end("visitor")
    assert [path for path in page.store.home.rglob("*") if path.is_file()] == []


def test_the_photo_that_is_picked_is_shown_and_is_the_one_that_is_previewed(page, send, photo):
    chosen = [send("a.png"), send("b.png", 40)]
    list(page.look(chosen, visitor()))
    view = page.pick(visitor(), click(1))
    np.testing.assert_allclose(shown(view[SLIDER])[0], photo[40:72, :32], atol=24)  # a JPEG
    at = types.SimpleNamespace(index=[5, 5])
    slider, about = page.preview(chosen, "other", "tiny", 0, visitor(), at, Progress())
    np.testing.assert_allclose(shown(slider)[0], photo[40:72, :32], atol=24)
    assert slider["elem_classes"] == ["compared"]
    assert about.startswith("Only the part around your click.")
    *_, view = restore(page, chosen)
    assert view[SLIDER]["value"][0].endswith("before2.jpg")  # still the second
    assert view[DOWNLOAD]["value"].endswith("b_restored.png")
    for index in (-1, 2, 0.5, None, "0", [0]):
        with pytest.raises(gr.Error, match="choose a photo first"):
            page.pick(visitor(), click(index))
    with pytest.raises(gr.Error, match="choose a photo first"):
        page.pick(visitor("another"), click(0))


def test_another_choice_ends_the_look_at_the_photos_before(page, send):
    looking = page.look([send("a.png"), send("b.png")], visitor())
    next(looking)
    list(page.look([send("c.png")], visitor()))
    assert list(looking) == []

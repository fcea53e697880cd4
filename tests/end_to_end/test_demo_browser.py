"""The page in a real Chromium, by mouse and finger: upload, preview, restore, several photos, phone, no network."""

import io
import os
import re
import shutil
import zipfile
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect, sync_playwright

from mprnet_jax import images
from mprnet_jax.infer import main as infer
from tests.helpers.demo_server import serving, wait_until

REQUIRED = "MPRNET_JAX_REQUIRE_CHROMIUM"  # set in CI: without a browser, fail instead of passing over
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WIDE = {"viewport": {"width": 1280, "height": 900}}
PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True, "device_scale_factor": 2}
WIDTH = PHONE["viewport"]["width"]
expect.set_options(timeout=60_000)
SECONDS = 60_000  # milliseconds that a step may take on a machine that has much else to do


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("demo"), "--max-megabytes", "1", "--tile", "64") as running:
        yield running


@pytest.fixture(scope="module")
def chromium():
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        assert not os.environ.get(REQUIRED), f"{REQUIRED} is set, and there is no chromium; apt-get install chromium"
        pytest.skip("no chromium; apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(server, chromium, request):
    """The page, open; at the end, whatever it asked for came from the server itself, and no script had failed."""
    context = chromium.new_context(**getattr(request, "param", WIDE), accept_downloads=True)
    context.set_default_timeout(SECONDS)
    page = context.new_page()
    asked, failed = [], []
    page.on("request", lambda sent: asked.append(sent.url))
    page.on("pageerror", lambda error: failed.append(str(error)))
    page.on("console", lambda line: failed.append(line.text) if line.type == "error" else None)
    page.tolerated = None  # what a test provokes
    page.goto(server.url)
    page.locator("#restore").wait_for()
    yield page
    context.close()
    hosts = {urlsplit(url).netloc for url in asked if not url.startswith(("data:", "blob:"))}
    assert hosts == {urlsplit(server.url).netloc}
    assert [line for line in failed if page.tolerated is None or page.tolerated not in line] == []


@pytest.fixture
def party(tmp_path, photo):
    images.write(tmp_path / "party.png", photo)
    return tmp_path / "party.png"


def choose(page, path):
    page.locator("#photo input[type=file]").set_input_files(path)


def restore(page):
    """Restore with the tiny network."""
    page.get_by_label("Other").check()
    expect(page.locator("#samples")).to_be_hidden()  # together with the choice of the model, which is folded away
    page.locator("#restore").click()
    expect(page.locator("#download")).to_be_enabled()


def sides(page):
    """The two images on the slider, before and after."""
    return page.locator("#slider img").nth(0), page.locator("#slider img").nth(1)


def names_of_sides(page):
    wrap = page.locator("#slider .slider-wrap")
    return [wrap.evaluate(f"wrap => getComputedStyle(wrap, '::{side}').content") for side in ("before", "after")]


def in_view(page, element):
    """Wait until all of an element is in the window."""
    page.wait_for_function(
        "element => { const box = document.querySelector(element).getBoundingClientRect();"
        " return box.height > 0 && box.top >= 0 && box.bottom <= window.innerHeight }",
        arg=element,
    )


def hidden_share(image):
    """How much of the restored image the slider hides, from the left: 0 to 1."""
    clip = image.evaluate("image => getComputedStyle(image).clipPath")
    return float(re.match(r"inset\(0(?:px|%)? 0(?:px|%)? 0(?:px|%)? ([\d.]+)%\)", clip)[1]) / 100


PATCH = (0.28, 0.4, 0.45, 0.55)  # top, bottom, left, right as shares of the picture


def colour(pixels):
    """Mean over the patch of H W 3."""
    top, bottom, left, right = (round(share * pixels.shape[i // 2]) for i, share in enumerate(PATCH))
    return pixels[top:bottom, left:right].mean(axis=(0, 1))


def colour_on_screen(page):
    """That of the slider's pictures, whichever of the two lies above there."""
    box = sides(page)[0].bounding_box()
    shot = Image.open(io.BytesIO(page.screenshot(clip=box))).convert("RGB")
    return colour(np.asarray(shot))


def drag(page, share):
    """Drag the slider's bar to a share of the picture's width."""
    page.locator("#slider").scroll_into_view_if_needed()
    bar = page.locator("#slider [data-testid=slider] .inner, #slider [data-testid=slider]").last.bounding_box()
    box = sides(page)[0].bounding_box()
    page.mouse.move(bar["x"] + bar["width"] / 2, bar["y"] + bar["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * share, bar["y"] + bar["height"] / 2, steps=5)
    page.mouse.up()


def test_a_photo_is_restored_compared_and_downloaded_as_the_command_restores_it(page, server, party, tmp_path):
    choose(page, party)
    expect(page.locator("#about textarea")).to_have_value("128 x 96 pixels; PNG, 8 bits a channel")
    expect(page.locator("#download")).to_be_disabled()
    restore(page)

    before, after = sides(page)
    for image in (before, after):
        expect(image).to_be_visible()
        expect(image).to_have_js_property("naturalWidth", 128)  # waits until it has arrived
    drag(page, 0.9)
    assert hidden_share(after) == pytest.approx(0.9, abs=0.03)
    as_it_came = colour_on_screen(page)
    drag(page, 0.1)
    assert hidden_share(after) == pytest.approx(0.1, abs=0.03)
    restored = colour_on_screen(page)

    with page.expect_download() as download:
        page.locator("#download").click()
    assert download.value.suggested_filename == "party_restored.png"
    download.value.save_as(tmp_path / "downloaded.png")
    where = ("--checkpoint", str(server.checkpoint), "--input", str(party), "--output", str(tmp_path / "out"))
    infer([*where, "--tile", "64", "--no-compile-cache"])
    assert (tmp_path / "downloaded.png").read_bytes() == (tmp_path / "out" / "party.png").read_bytes()

    # What the slider showed are these two pictures, so far as a screenshot tells.
    expected = [colour(images.read(path)) for path in (party, tmp_path / "downloaded.png")]
    assert np.abs(expected[0] - expected[1]).max() > 10
    np.testing.assert_allclose(as_it_came, expected[0], atol=3)
    np.testing.assert_allclose(restored, expected[1], atol=3)


def test_the_words_are_plain_and_what_is_technical_is_folded_away(page, party):
    for words in ("Take out noise", "Take out rain"):
        expect(page.get_by_label(words)).to_be_visible()
    for label in ("Model", "TLC", "Self-ensemble"):
        expect(page.get_by_label(label)).not_to_be_visible()
    expect(page.get_by_label("Stage")).not_to_be_visible()
    choose(page, party)
    wrap = page.locator("#slider .slider-wrap")
    expect(wrap).to_be_visible()
    assert names_of_sides(page) == ["none", "none"]  # there is nothing to compare yet
    expect(page.locator("#slider [data-testid=slider]")).to_be_hidden()
    restore(page)
    expect(page.locator("#slider [data-testid=slider]")).to_be_visible()
    assert names_of_sides(page) == ['"Before"', '"After"']


def test_the_wheel_zooms_and_the_button_goes_back(page, party):
    choose(page, party)
    image = sides(page)[0]
    expect(image).to_be_visible()
    image.hover(position={"x": 60, "y": 90})  # beside the bar
    for _ in range(10):
        page.mouse.wheel(0, -100)
    larger = "image => new DOMMatrix(getComputedStyle(image).transform).a > 1.5"
    page.wait_for_function(larger, arg=image.element_handle())
    page.get_by_label("Undo").first.click()
    expect(image).to_have_css("transform", "matrix(1, 0, 0, 1, 0, 0)")


def test_stop_ends_the_work_at_the_next_tile(page, party):
    page.locator("#samples button").first.click()
    expect(page.locator("#about textarea")).to_have_value(re.compile("384 x 288 pixels"))
    page.locator("#options").get_by_text("For experts").click()
    page.get_by_label("Self-ensemble").check()  # 8 x 35 tiles of the light network: many seconds
    page.locator("#restore").click()
    expect(page.locator("#about")).to_contain_text(re.compile(r"\d+/280 tiles.*Restoring"))
    page.locator("#stop").click()
    page.get_by_label("Self-ensemble").uncheck()
    page.locator("#photo").get_by_label("Clear").click()
    choose(page, party)
    restore(page)  # nobody else is before it
    expect(sides(page)[1]).to_have_js_property("naturalWidth", 128)


@pytest.mark.parametrize("page", [PHONE], indirect=True)
def test_on_a_phone_everything_fits_the_width_and_a_sample_is_restored(page, tmp_path):
    assert page.evaluate("document.documentElement.scrollWidth") <= WIDTH
    samples = page.locator("#samples button img")
    frame = page.locator("#samples").bounding_box()
    assert frame["height"] < 110  # one row, and nothing empty below it
    for number in range(samples.count()):
        # decode() waits until the picture has arrived, and fails if it cannot be shown
        assert samples.nth(number).evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
        box = samples.nth(number).bounding_box()
        assert box["x"] + box["width"] <= frame["x"] + frame["width"]
    samples.first.click()
    expect(page.locator("#about textarea")).to_have_value(re.compile("384 x 288 pixels"))
    page.evaluate("window.scrollTo(0, 0)")
    restore(page)
    for element in ("#about", "#slider", "#download"):
        in_view(page, element)  # by itself
    for element in ("#slider", "#download", "#restore", "#about", "#photo", "#task", "#click"):
        box = page.locator(element).bounding_box()
        assert 0 <= box["x"] <= box["x"] + box["width"] <= WIDTH
    assert page.evaluate("document.documentElement.scrollWidth") <= WIDTH


@pytest.fixture
def camera(tmp_path):
    """A photo of 1300 x 900 pixels whose grey tells where it is, stored as a camera that was turned stores it."""
    rows, columns = np.mgrid[:900, :1300]
    upright = np.stack((rows * 255 // 900, columns * 255 // 1300, np.full_like(rows, 90)), axis=-1).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned to the right by a viewer
    Image.fromarray(np.rot90(upright)).save(tmp_path / "camera.jpg", quality=95, exif=exif)
    return tmp_path / "camera.jpg", upright


@pytest.mark.parametrize("page", [WIDE, PHONE], indirect=True, ids=["mouse", "finger"])
@pytest.mark.parametrize(("across", "down"), [(0.6, 0.5), (0.97, 0.02)])
def test_a_click_on_the_photo_shows_the_part_around_it_before_and_after(page, camera, across, down, request):
    path, upright = camera
    choose(page, path)
    page.get_by_label("Other").check()
    small = page.locator("#click img")
    expect(small).to_have_js_property("naturalWidth", 1300)
    small.scroll_into_view_if_needed()
    box = small.bounding_box()
    press = small.tap if "finger" in request.node.name else small.click
    press(position={"x": box["width"] * across, "y": box["height"] * down})
    expect(page.locator("#about textarea")).to_have_value(re.compile("^Only the part around your click"))
    before, after = sides(page)
    for image in (before, after):
        expect(image).to_have_js_property("naturalWidth", 512)
    assert names_of_sides(page) == ['"Before"', '"After"']
    in_view(page, "#slider")
    expect(page.locator("#download")).to_be_disabled()  # it is not the whole

    left, top = (min(max(round(share * side) - 256, 0), side - 512) for share, side in ((across, 1300), (down, 900)))
    expected = upright[top : top + 512, left : left + 512]
    seen = pixels_of(page, before)
    assert np.abs(seen.mean((0, 1)) - expected.mean((0, 1))).max() < 3
    assert np.abs(seen[256, 256] - expected[256, 256].astype(float)).max() < 8
    assert np.abs(pixels_of(page, after) - seen).mean() > 3  # it has been through the network


def pixels_of(page, image):
    """A picture on the page as it came."""
    answer = page.request.get(image.evaluate("image => image.src"))
    return np.asarray(Image.open(io.BytesIO(answer.body())).convert("RGB"), float)


@pytest.mark.parametrize("page", [WIDE, PHONE], indirect=True, ids=["wide", "phone"])
def test_several_photos_are_restored_looked_at_and_downloaded_together(page, party, photo, tmp_path):
    images.write(tmp_path / "second.jpg", photo[:64, :48])
    images.write(tmp_path / "third.png", photo[20:84, :48])
    (tmp_path / "text.png").write_text("not a picture")
    choose(page, [party, tmp_path / "text.png", tmp_path / "second.jpg", tmp_path / "third.png"])
    about, listed = page.locator("#about textarea"), page.locator("#listed button")
    expect(listed).to_have_count(3)
    expect(about).to_have_value(re.compile("^text.png: not a picture.*\nparty.png: 128 x 96 pixels"))
    expect(page.locator("#download_all")).to_be_hidden()
    restore(page)
    expect(about).to_have_value(re.compile("^3 of 4 photos are restored.\ntext.png: not a picture"))
    expect(page.locator("#listed")).to_contain_text("\u2713 third.png")
    expect(sides(page)[1]).to_have_js_property("naturalWidth", 128)
    in_view(page, "#slider")
    listed.nth(2).click()
    expect(about).to_have_value(re.compile("third.png: 48 x 64 pixels"))
    expect(sides(page)[1]).to_have_js_property("naturalWidth", 48)
    expect(page.locator("#click img")).to_have_js_property("naturalWidth", 48)

    with page.expect_download() as one:
        page.locator("#download").click()
    assert one.value.suggested_filename == "third_restored.png"
    with page.expect_download() as every:
        page.locator("#download_all a").click()
    assert every.value.suggested_filename == "restored_photos.zip"
    every.value.save_as(tmp_path / "all.zip")
    with zipfile.ZipFile(tmp_path / "all.zip") as zipped:
        assert zipped.namelist() == ["party_restored.png", "second_restored.jpg", "third_restored.png"]
        assert zipped.testzip() is None
        assert zipped.read("third_restored.png") == Path(one.value.path()).read_bytes()
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]
    listed.nth(0).click()  # the visit goes on
    expect(about).to_have_value(re.compile("party.png: 128 x 96 pixels"))


def test_too_many_photos_at_once_are_told_on_the_page(page, party, tmp_path):
    many = [tmp_path / f"{number}.png" for number in range(21)]
    for path in many:
        path.write_bytes(party.read_bytes())
    page.tolerated = "status of 400"
    choose(page, many)
    expect(page.get_by_test_id("toast-body")).to_contain_text("at most 20 photos may come at once")


def test_what_is_refused_is_told_on_the_page(page, tmp_path):
    (tmp_path / "text.png").write_text("not a picture")
    choose(page, tmp_path / "text.png")
    expect(page.locator("#about textarea")).to_have_value(re.compile("text.png: not a picture in a format"))
    page.locator("#restore").click()
    expect(page.get_by_test_id("toast-body")).to_contain_text("text.png: not a picture in a format")


def test_a_file_that_is_too_large_is_told_on_the_page(page, tmp_path):
    (tmp_path / "large.png").write_bytes(bytes(2 * 10**6))
    choose(page, tmp_path / "large.png")
    expect(page.get_by_test_id("toast-body")).to_contain_text("maximum allowed size")


def test_closing_the_page_deletes_its_photos(page, server, party):
    choose(page, party)
    expect(page.locator("#about textarea")).to_have_value(re.compile("128 x 96"))
    assert any(path.name == "party.png" for path in server.files())
    page.context.close()
    wait_until(lambda: not any(path.name == "party.png" for path in server.files()))

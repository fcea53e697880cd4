"""The page of before and after: links that lead to the files, whatever their names, and copies that stay small."""

import os
import re
import subprocess
import urllib.parse
from html.parser import HTMLParser
from shutil import which

import numpy as np
import pytest
from PIL import Image

from mprnet_jax import images
from mprnet_jax.batch import before_after_page
from mprnet_jax.batch.jobs import Job

NASTY = """a "b" <i>c</i> 'd' & %41#?ñ雪.png"""


class Page(HTMLParser):
    """Tags, their attributes, and the text."""

    def __init__(self, path):
        super().__init__()
        self.folder, self.tags, self.text = path.parent, [], []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text.append(data)

    def values(self, name, tag=None):
        return [found[name] for kind, found in self.tags if found.get(name) and tag in (None, kind)]

    def file(self, link):
        return (self.folder / os.fsdecode(urllib.parse.unquote_to_bytes(link))).resolve()


def make_jobs(folder, photo, names):
    jobs = []
    for name in names:
        images.write(folder / "in" / name, photo)
        images.write(folder / "out" / name, 255 - photo)
        jobs.append(Job(folder / "in" / name, folder / "out" / name))
    return jobs


def test_every_link_leads_to_a_file_whatever_its_name(tmp_path, photo):
    undecodable = os.fsdecode(b"\xff.png")
    jobs = make_jobs(tmp_path, photo, [NASTY, "below/a.jpg", "two\nlines.png", undecodable])
    page = Page(before_after_page.write(tmp_path / "out", jobs))
    links = [page.file(link) for name in ("src", "href", "data-before", "data-after") for link in page.values(name)]
    assert len(links) == len(jobs) * 6
    assert all(link.is_file() for link in links)
    assert [page.file(link) for link in page.values("data-before")] == [job.source for job in jobs]
    assert [page.file(link) for link in page.values("data-after")] == [job.result for job in jobs]
    text = "".join(page.text)
    assert NASTY in text
    assert r"two\nlines.png" in text
    assert r"\udcff.png" in text
    assert not any(tag == "i" and attributes for tag, attributes in page.tags)
    assert "<i>c" not in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_nothing_is_loaded_from_elsewhere_and_pictures_wait_for_their_turn(tmp_path, photo):
    page = Page(before_after_page.write(tmp_path / "out", make_jobs(tmp_path, photo, ["a.png", "b.png"])))
    assert not re.search(r"(?:https?:)?//[a-z]", "".join(page.values("src") + page.values("href")))
    shown = [attributes for tag, attributes in page.tags if tag == "img" and attributes.get("src")]
    assert len(shown) == 4
    for attributes in shown:
        assert attributes["loading"] == "lazy"
        assert (attributes["width"], attributes["height"]) == ("128", "96")  # the page does not jump when it loads


def test_large_pictures_are_shown_small_and_zoomed_whole(tmp_path):
    big = np.zeros((900, 2000, 3), np.uint8)
    page = Page(before_after_page.write(tmp_path / "out", make_jobs(tmp_path, big, ["a.png", "b.tif"])))
    for link in page.values("src"):
        with Image.open(page.file(link)) as copy:
            assert copy.size == (1200, 540)
    full = [page.file(link) for link in page.values("data-after")]
    assert full[0].name == "a.png"
    assert full[1].suffix == ".jpg"  # no browser shows TIFF
    with Image.open(full[1]) as copy:
        assert copy.size == (2000, 900)


def test_alpha_and_depth_are_shown_as_a_viewer_would(tmp_path):
    rgba = np.zeros((8, 8, 4), np.uint8)  # black, half transparent
    rgba[..., 3] = 128
    deep = np.full((8, 8, 3), 40000, np.uint16)
    (tmp_path / "in").mkdir()
    Image.fromarray(rgba).save(tmp_path / "in" / "a.png")
    images.write(tmp_path / "in" / "b.png", deep)
    jobs = [Job(tmp_path / "in" / name, tmp_path / "in" / name) for name in ("a.png", "b.png")]
    page = Page(before_after_page.write(tmp_path / "in", jobs))
    levels = [np.asarray(Image.open(page.file(link))).mean() for link in page.values("src")]
    np.testing.assert_allclose(levels, [127, 127, 156, 156], atol=1.5)


def test_copies_are_used_again_until_a_picture_changes(tmp_path, photo):
    jobs = make_jobs(tmp_path, photo, ["a.png"])
    before_after_page.write(tmp_path / "out", jobs)
    copies = sorted((tmp_path / "out" / before_after_page.COPIES).iterdir())
    times = [path.stat().st_mtime_ns for path in copies]
    before_after_page.write(tmp_path / "out", jobs)
    assert [path.stat().st_mtime_ns for path in copies] == times
    images.write(jobs[0].result, photo)
    os.utime(jobs[0].result, ns=(max(times) + 10**9, max(times) + 10**9))
    before_after_page.write(tmp_path / "out", jobs)
    assert [path.stat().st_mtime_ns for path in copies] != times


def test_what_cannot_be_shown_is_a_line_and_a_video_is_played(tmp_path, photo):
    jobs = make_jobs(tmp_path, photo, ["a.png", "b.png"])
    jobs[0].result.write_bytes(b"kept from elsewhere")
    jobs.append(Job(tmp_path / "in" / "c.mp4", tmp_path / "out" / "c.mp4"))
    page = Page(before_after_page.write(tmp_path / "out", jobs))
    assert "a.png: not a picture" in "".join(page.text)
    assert len(page.values("data-after")) == 1
    assert [page.file(link) for link in page.values("src", "video")] == [jobs[2].source, jobs[2].result]


@pytest.mark.skipif(not which("chromium"), reason="needs chromium")
def test_a_browser_zooms(tmp_path, photo):
    """The script runs without an error, loads both files, and cuts the upper one where the slider is."""
    path = before_after_page.write(tmp_path / "out", make_jobs(tmp_path, photo, [NASTY]))
    probe = """<script>onerror = text => document.title = text; document.querySelector('.pair button').click();
    setTimeout(() => { size(2); range.value = 25; cut(); document.title = JSON.stringify([after.naturalWidth,
    before.naturalWidth, both.offsetWidth, before.style.clipPath, line.style.left, view.clientWidth]); }, 1000);
    </script></body>"""
    (tmp_path / "out" / "probe.html").write_text(path.read_text(encoding="utf-8").replace("</body>", probe), "utf-8")
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=5000", "--dump-dom"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1000,800"]
    output = subprocess.run([*command, (tmp_path / "out" / "probe.html").as_uri()], capture_output=True, timeout=120)
    (title,) = re.findall(r"<title>\[(.*?)\]</title>", output.stdout.decode())
    natural, natural_before, shown, cut, line, view = title.replace('"', "").split(",")
    assert (natural, natural_before, shown) == ("128", "128", "256")
    assert float(line.removesuffix("px")) == float(view) / 4
    left_of_picture = (float(view) - 256) / 2
    assert cut == f"inset(0px {256 - max(0, float(view) / 4 - left_of_picture):g}px 0px 0px)"

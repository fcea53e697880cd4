"""Reports: whole HTML that loads nothing from outside, the right images, and what is odd is shown."""

import re
from html.parser import HTMLParser

import pytest

from mprnet_jax import images
from mprnet_jax.evaluation import result_page
from mprnet_jax.evaluation.results import Dataset, RestoredBy, Result
from mprnet_jax.evaluation.test_sets import Pair

VOID = {"meta", "img", "input", "br"}


class Balance(HTMLParser):
    """Fails for a tag that is closed out of order."""

    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def result(rows, refused=(), protocol="custom") -> Result:
    columns = ("psnr", "ssim_matlab_rgb", "ssim_per_channel", "psnr_y", "ssim_index_y")
    made = [
        {"name": name, **dict.fromkeys(columns, psnr), "input_psnr": 20.0, "gain": psnr - 20} for name, psnr in rows
    ]
    by = RestoredBy(kind="files", source="x", sha256="0", sha256_of="y")
    return Result(protocol, "run", len(rows), made, list(refused), Dataset("d", "0", "y"), by, 1.0)


@pytest.fixture
def rendered(photo):
    def render(rows, **kwargs) -> str:
        pairs = [Pair(name, lambda: photo, lambda: photo) for name, _ in rows]
        return result_page.render(result(rows, **kwargs), pairs, lambda pair: photo // 2)

    return render


def test_page_is_whole_and_loads_nothing_from_outside(rendered):
    page = rendered([("a", 30.0), ("b", 31.0), ("c", 25.0)], refused=["d.png: too bad"])
    balance = Balance()
    balance.feed(page)
    assert balance.open == []
    assert all(source.startswith("data:image/") for source in re.findall(r'src="([^"]*)"', page))
    assert not re.search(r"https?://|<link|@import|url\(", page)
    assert "d.png: too bad" in page


def test_best_median_and_worst_are_shown(rendered):
    page = rendered([("a", 30.0), ("b", 35.0), ("c", 25.0), ("d", 31.0), ("e", 26.0)])
    assert re.findall(r"<h3>(\w+): (\w),", page) == [("best", "b"), ("median", "a"), ("worst", "c")]
    assert page.count('alt="error of after"') == 3


def test_one_image_stands_once(rendered):
    assert re.findall(r"<h3>(\w+): (\w),", rendered([("a", 30.0)])) == [("best", "a")]


def test_names_and_lines_are_escaped(rendered):
    page = rendered([("<script>x</script>", 30.0)], refused=["<b>&.png: bad"])
    assert "<script>x" not in page
    assert "&lt;b&gt;&amp;.png" in page


def test_infinite_psnr_is_shown_and_left_out_of_plots(rendered):
    page = rendered([("a", float("inf")), ("b", 30.0)])
    assert "best: a, inf dB" in page
    assert "nan" not in re.sub(r"base64,[^\"]*", "", page)
    assert "1 image equals its truth" in page


def test_another_count_than_the_papers_is_a_notice(rendered):
    assert "GoPro, 2 of 1,111 pairs: not comparable with the paper" in rendered(
        [("a", 30.0), ("b", 31.0)], protocol="gopro"
    )


def test_a_file_that_went_away_is_a_notice(photo):
    pairs = [Pair("a", lambda: images.read("gone.png"), lambda: photo)]
    page = result_page.render(result([("a", 30.0)]), pairs, lambda pair: photo)
    assert "gone.png: no such file" in page

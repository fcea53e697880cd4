"""Pages from templates: texts cannot become markup, and the files that they are made of are whole."""

from importlib.resources import files

import jinja2
import pytest
from markupsafe import Markup

from mprnet_jax.reports import pages
from mprnet_jax.reports.picks import highest_median_lowest


def render(**values):
    notices = {"title": "t", "cards": [], "computed_by": ""} | values
    return pages.render("mprnet_jax.batch", "before_after.html", **notices)


def test_texts_are_escaped_and_what_is_not_printable_is_written_out():
    assert "<title>&lt;b&gt; \\x1b[2J \\udcff</title>" in render(title="<b> \x1b[2J \udcff")
    assert "<title><b></title>" in render(title=Markup("<b>"))


def test_a_value_that_is_missing_is_an_error_and_not_an_empty_place():
    with pytest.raises(jinja2.UndefinedError):
        pages.render("mprnet_jax.batch", "before_after.html", title="t")


@pytest.mark.parametrize("package", ["mprnet_jax.reports", "mprnet_jax.batch", "mprnet_jax.evaluation"])
def test_style_and_script_lie_in_files_that_load_nothing_from_outside(package):
    found = [path for path in (files(package) / "templates").iterdir() if path.name.endswith((".css", ".js", ".html"))]
    assert found
    for path in found:
        text = path.read_text(encoding="utf-8")
        assert "http" not in text
        assert "@import" not in text
        assert "url(" not in text


def test_style_and_script_are_in_the_page_as_they_lie_in_the_files():
    page = render()
    for package, name in [("reports", "style.css"), ("reports", "page.js"), ("batch", "before_after.css")]:
        assert (files(f"mprnet_jax.{package}") / "templates" / name).read_text(encoding="utf-8").strip() in page


@pytest.mark.parametrize(
    ("values", "picked"),
    [
        ([1.0], {"best": 0}),
        ([1.0, 2.0], {"best": 1, "worst": 0}),
        ([3.0, 1.0, 2.0], {"best": 0, "median": 2, "worst": 1}),
        ([5.0, 4.0, 3.0, 2.0], {"best": 0, "median": 2, "worst": 3}),
        ([float("inf"), 1.0, 2.0], {"best": 0, "median": 2, "worst": 1}),
        ([7.0, 7.0, 7.0], {"best": 2, "median": 1, "worst": 0}),
    ],
)
def test_best_median_and_worst_are_three_items_if_there_are_three(values, picked):
    assert highest_median_lowest(values, ("best", "median", "worst")) == picked

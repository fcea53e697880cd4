"""Pages from templates: Jinja2 fills them in, and escapes what it fills in.

A page extends page.html, which brings the style and the script inside, so that it loads nothing from outside. It works
without scripts too, less the slider and the sorting.
"""

import functools
from typing import TYPE_CHECKING, Any

from mprnet_jax.support.errors import one_line

if TYPE_CHECKING:
    import jinja2


def render(package: str, template: str, **values: Any) -> str:
    """A template of a package's templates/ folder, filled in.

    It may extend and import the templates beside this module. Texts are escaped, and shown in one line with what is
    not printable written out: file names may hold anything, and UTF-8 cannot hold all of it. `Markup` stays as it is.
    """
    return _environment(package).get_template(template).render(**values)


@functools.cache
def _environment(package: str) -> "jinja2.Environment":
    import jinja2  # here, because commands that may write a page import this module, and most do not

    places = dict.fromkeys((package, "mprnet_jax.reports"))
    return jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader(place) for place in places]),
        autoescape=jinja2.select_autoescape(["html"]),
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: one_line(value) if type(value) is str else value,  # Markup is a str, too
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )

"""A package of an extra that cannot be used: what is missing, and what is there and does not load."""

import pytest

from mprnet_jax.support.errors import UserError
from mprnet_jax.support.optional_imports import import_extra


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (None, "needs lib_x, which is not installed; run: pip install 'mprnet_jax\\[x\\]'"),
        ("import lib_y.part", "lib_x needs lib_y, which is not installed; .* pip install lib_y"),
        ("raise ImportError('Using SOCKS proxy,\\nbut no socksio')", "lib_x is installed .*Using SOCKS proxy, but no"),
        ("from os import nothing_such", "lib_x is installed and cannot be loaded .*nothing_such"),
        ("raise OSError('libGL.so.1: cannot open')", "lib_x is installed and cannot be loaded .*libGL.so.1"),
    ],
)
def test_only_a_package_that_is_not_there_is_called_not_installed(tmp_path, monkeypatch, source, message):
    if source is not None:
        (tmp_path / "lib_x.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "lib_x", raising=False)
    with pytest.raises(UserError, match=message) as caught:
        import_extra("lib_x", "lib_x", "x")
    assert len(str(caught.value).splitlines()) == 1

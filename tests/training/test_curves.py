"""Curves without words of the library that draws them."""

import subprocess
import sys

# As with a new home folder, or one that cannot be written, and with the settings of the commands' own log.
PROGRAM = """
import logging
logging.basicConfig()
from mprnet_jax.training import curves
import matplotlib
matplotlib.get_cachedir()
logging.getLogger("matplotlib.font_manager").warning("building the font cache")
logging.getLogger("matplotlib").error("a real error")
"""


def test_matplotlibs_warnings_of_its_own_folders_are_not_shown(monkeypatch):
    monkeypatch.setenv("MPLCONFIGDIR", "/dev/null/nowhere")
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert [line for line in done.stderr.splitlines() if line] == ["ERROR:matplotlib:a real error"]

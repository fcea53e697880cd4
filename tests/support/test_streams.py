"""What a command prints never ends it."""

import subprocess
import sys

import pytest

COMMAND = """
import sys
from mprnet_jax.support.command_line import Parser
from mprnet_jax.support.errors import UserError, exit_on_user_error
from mprnet_jax.support.progress import Meter, say
Parser(prog="x").parse_args([])
with exit_on_user_error("x"):
    with Meter(1, "file") as meter:
        say("a note: \\u96ea")
        meter.end()
    for i in range(int(sys.argv[1])):
        print("line", i, "\\u96ea")
open(sys.argv[2], "w").write("done")
"""


def run(shell, tmp_path, lines=1):
    script = tmp_path / "command.py"
    script.write_text(COMMAND, encoding="utf-8")
    command = f"{sys.executable} {script} {lines} {tmp_path / 'done'}"
    done = subprocess.run(["bash", "-c", shell.format(command)], capture_output=True, text=True, timeout=60)
    return done, (tmp_path / "done").exists()


@pytest.mark.parametrize("shell", ["{} 2>&-", "{} >&-", "{} >&- 2>&-", "{} </dev/null 2>/dev/full"])
def test_a_closed_or_full_stream_does_not_end_the_work(shell, tmp_path):
    done, finished = run(shell, tmp_path)
    assert finished, done.stderr
    assert done.returncode == 0
    assert "Traceback" not in done.stderr + done.stdout


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_name_that_the_encoding_lacks_is_written_out(encoding, tmp_path):
    done, finished = run(f"PYTHONIOENCODING={encoding} {{}}", tmp_path)
    assert finished
    assert done.returncode == 0
    assert r"line 0 \u96ea" in done.stdout
    assert r"a note: \u96ea" in done.stderr


def test_a_pipe_that_closes_ends_the_printing_quietly(tmp_path):
    done, finished = run("{} | head -1; exit ${{PIPESTATUS[0]}}", tmp_path, lines=100_000)
    assert finished
    assert done.returncode == 0
    assert done.stdout == "line 0 雪\n"
    assert done.stderr.splitlines() == ["a note: 雪"]


def test_a_report_that_a_full_disk_swallowed_is_an_error_in_one_line(tmp_path):
    done, _ = run("{} >/dev/full", tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines()[1:] == [
        "x: error: stdout cannot be written (No space left on device); what else was asked for is done"
    ]


def test_help_into_a_pipe_that_closes_leaves_no_traceback(tmp_path):
    script = "from mprnet_jax.support.command_line import Parser\np = Parser(prog='x')\n"
    script += "for i in range(5000): p.add_argument(f'--o{i}', help='h' * 50)\np.parse_args(['--help'])"
    (tmp_path / "help.py").write_text(script)
    shell = f"{sys.executable} {tmp_path / 'help.py'} | head -1"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith("usage: x")
    assert done.stderr == ""

"""MkDocs hook: generates the pages that would otherwise go out of date.

commands.md holds the --help of every command; each notebooks/*.ipynb is executed and becomes a page; every card in
docs/models is added to the navigation.
"""

import base64
import contextlib
import importlib
import io
import os
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import nbformat
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from nbclient import NotebookClient

ROOT = Path(__file__).parent.parent
RECIPE = "configs/clean_photos.py"  # its fields are shown
COMMANDS = (
    *("-m mprnet_jax.infer", "-m mprnet_jax.demo", "-m mprnet_jax.export", "tools/restore_with_ray.py"),
    *("tools/convert_torch_ckpt.py", f"-m mprnet_jax.train --config {RECIPE}", "-m mprnet_jax.adapt"),
    *(
        "-m mprnet_jax.evaluate",
        "-m mprnet_jax.data.build",
        "tools/check_data.py",
        "tools/prepare_sidd.py",
        "tools/pack_weights.py",
    ),
    *("tools/benchmark.py", "tools/draw_architecture.py", "tools/attack.py"),
)
SECONDS = 600  # timeout of a notebook cell


@contextlib.contextmanager
def run_as(arguments: list[str]) -> Iterator[None]:
    """Set sys.argv, and a terminal of 80 columns without colours."""
    with (
        mock.patch.object(sys, "argv", arguments),
        mock.patch.object(sys, "path", [str(ROOT / "tools"), *sys.path]),
        mock.patch.dict(os.environ, {"COLUMNS": "80", "NO_COLOR": "1", "PYTHON_COLORS": "0"}),
        contextlib.chdir(ROOT),
    ):
        yield


def help_of(command: str) -> str:
    """What `python COMMAND --help` prints, run in this process: a new process would import JAX again."""
    first, *rest = command.split()
    program = rest.pop(0) if first == "-m" else first
    out = io.StringIO()
    with run_as([program, *rest, "--help"]), contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
        main = importlib.import_module(program).main if first == "-m" else runpy.run_path(str(ROOT / first))["main"]
        main()
    return out.getvalue().strip()


def commands_page() -> str:
    """commands.md: the --help of every command, as Markdown."""
    parts = ["# Commands\n\nThe `--help` of each command. Run them with `python` in your environment."]
    for command in COMMANDS:
        title = command.removeprefix("-m ").split()[0]
        parts.append(f"## {title}\n\n```text\n{help_of(command)}\n```")
    return "\n\n".join(parts) + "\n"


def run_notebook(path: Path) -> nbformat.NotebookNode:
    """Execute a notebook in its own folder; return it with outputs. Raises nbclient.exceptions.CellExecutionError."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook, timeout=SECONDS, kernel_name="python3", resources={"metadata": {"path": path.parent}}
    )
    # This Python, not a kernel that the user installed under the same name.
    launch = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}", "--log-level=ERROR"]
    client.create_kernel_manager().kernel_spec.argv = launch
    return client.execute()


def notebook_page(notebook: nbformat.NotebookNode, name: str) -> tuple[str, dict[str, bytes]]:
    """An executed notebook as Markdown, and its pictures by file name; stderr (progress bars) is left out."""
    parts: list[str] = []
    pictures: dict[str, bytes] = {}
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            parts.append(cell.source)
            continue
        parts.append(f"```python\n{cell.source}\n```")
        printed = ""
        for output in cell.outputs:
            data: dict[str, Any] = output.get("data", {})
            if "image/png" in data:
                file = f"{name}_{len(pictures)}.png"
                pictures[file] = base64.b64decode(data["image/png"])
                parts.append(f"![output of the cell]({file})")
            elif output.get("name") != "stderr":
                printed += output.get("text") or data.get("text/plain", "")
        if printed.strip():
            parts.append(f"```text\n{printed.strip()}\n```")
    parts.append(f"[Download the notebook]({name}.ipynb) to run it.")
    return "\n\n".join(parts) + "\n", pictures


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add the model cards to the navigation."""
    docs = Path(config.docs_dir)
    cards = [str(path.relative_to(docs)) for path in sorted((docs / "models").glob("*.md"))]
    next(entry for entry in config.nav if "Model cards" in entry)["Model cards"] = cards
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    files.append(File.generated(config, "commands.md", content=commands_page()))
    for path in sorted(Path(config.docs_dir).glob("notebooks/*.ipynb")):
        text, pictures = notebook_page(run_notebook(path), path.stem)
        files.append(File.generated(config, f"notebooks/{path.stem}.md", content=text))
        for name, content in pictures.items():
            files.append(File.generated(config, f"notebooks/{name}", content=content))
    return files

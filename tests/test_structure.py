"""The package can be read from its tree: sizes of modules and packages, docstrings and annotations of public names.

And from setup.cfg: what is imported is required there.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import lowest
import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = Path(__file__).parents[1] / "mprnet_jax"
MODULES = sorted(PACKAGE.rglob("*.py"))
MOST_LINES = 460  # of a file
MOST_MODULES = 16  # of a package, beside __init__
MOST_AT_THE_TOP = 9  # files of mprnet_jax/ itself

# Where names that no `import_extra` guards may come from, beside install_requires.
EXTRAS = {
    "mprnet_jax/evaluation": ("evaluate",),
    "mprnet_jax/interchange": ("export", "verify"),
    "mprnet_jax/restoring/engines": ("openvino",),
    "mprnet_jax/web": ("demo",),
    "integrations": ("test",),  # ComfyUI brings torch
    "tools": ("docs", "bench", "evaluate"),
    "tests": ("test",),
}
# Packages whose name is not that of what is imported, or that are one with another.
PACKAGES = {
    "absl": "absl-py",
    "cv2": "opencv-python-headless",
    "gradio_client": "gradio",
    "jaxlib": "jax",
    "mkdocs": "mkdocs-material",
    "orbax": "orbax-checkpoint",
    "PIL": "pillow",
    "png": "pypng",
    "skimage": "scikit-image",
    "yaml": "pyyaml",
}
UNLISTED = {"bm3d"}  # its licence is for non-commercial use; who wants it installs it by hand

Function = ast.FunctionDef | ast.AsyncFunctionDef


def public(path: Path) -> Iterator[tuple[str, ast.ClassDef | Function]]:
    """Public functions, classes and methods of a module, by "package.module.Class.method"."""
    module = ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")

    def below(nodes: list[ast.stmt], prefix: str) -> Iterator[tuple[str, ast.ClassDef | Function]]:
        for node in nodes:
            if isinstance(node, ast.If | ast.Try):
                yield from below(node.body + node.orelse, prefix)
            elif isinstance(node, ast.ClassDef | Function) and not node.name.startswith("_"):
                yield f"{prefix}.{node.name}", node
                if isinstance(node, ast.ClassDef):
                    yield from below(node.body, f"{prefix}.{node.name}")

    yield from below(ast.parse(path.read_text(encoding="utf-8")).body, module)


def test_every_module_and_public_name_has_a_docstring():
    missing = {str(path) for path in MODULES if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))}
    documented = set()
    for path in MODULES:
        for name, node in public(path):
            (documented if ast.get_docstring(node) else missing).add(name)
    assert missing == set()
    assert {
        "model.MPRNet",
        "model.upsample",
        "restoring.tiles.Tiles.blend",
    } <= documented  # the walk sees what there is


def test_public_functions_have_annotations():
    bare = []
    for path in MODULES:
        for name, node in public(path):
            if isinstance(node, ast.ClassDef):
                continue
            arguments = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
            arguments += [each for each in (node.args.vararg, node.args.kwarg) if each is not None]
            unnamed = [each.arg for each in arguments if each.annotation is None and each.arg not in ("self", "cls")]
            if node.returns is None or unnamed:
                bare.append(name)
    assert bare == []


def test_no_file_is_long():
    lines = {str(path.relative_to(PACKAGE)): len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    assert {name: count for name, count in lines.items() if count > MOST_LINES} == {}


def test_no_package_has_many_modules_and_the_top_few_files():
    for folder in {path.parent for path in MODULES} - {PACKAGE}:
        modules = [path.name for path in folder.glob("*.py") if path.name != "__init__.py"]
        assert len(modules) <= MOST_MODULES, f"{folder.relative_to(PACKAGE)} has {len(modules)} modules"
    assert len(list(PACKAGE.glob("*.py"))) <= MOST_AT_THE_TOP


def imports(path: Path, calls: bool) -> Iterator[tuple[str, str | None]]:
    """What a file imports, by the first part of its name, by calls too; with the extra that `import_extra` names."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((each.name.split(".")[0], None) for each in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module.split(".")[0], None
        elif calls and isinstance(node, ast.Call) and isinstance(node.args[0] if node.args else None, ast.Constant):
            called = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if called == "import_module":
                yield node.args[0].value.split(".")[0], None
            elif called == "import_extra":
                extra = node.args[2]
                yield node.args[0].value.split(".")[0], getattr(extra, "value", None)


def test_every_package_that_is_imported_is_required():
    required = {
        extra: {lowest.normalised(lowest.REQUIREMENT.fullmatch(line)["name"]) for line in lines}
        for extra, lines in lowest.requirements().items()
    }
    own = {"mprnet_jax", "tests", "configs"} | {path.stem for path in (ROOT / "tools").iterdir()}
    missing, seen = set(), set()
    for folder in ("mprnet_jax", "configs", "tools", "integrations", "tests"):
        for path in (ROOT / folder).rglob("*.py"):
            name = path.relative_to(ROOT).as_posix()
            optional = {extra for start, extras in EXTRAS.items() if name.startswith(f"{start}/") for extra in extras}
            for module, extra in imports(path, calls=folder != "tests"):  # tests may call with names that there are not
                package = lowest.normalised(PACKAGES.get(module, module))
                seen.add(package)
                if module not in sys.stdlib_module_names | own | UNLISTED:
                    groups = {"", extra} if extra else {"", *optional}
                    if not any(package in required[group] for group in groups):
                        missing.add(f"{name}: {package} is not in {sorted(groups)} of setup.cfg")
    assert missing == set()
    assert {"jax", "gradio", "opencv-python-headless", "uvicorn", "torch"} <= seen  # the walk sees what there is


def test_every_command_and_tool_tells_mistakes_in_its_options_in_one_line():
    """As Parser does, and argparse's own parser, which prints a page of usage, does not."""
    programs = [*MODULES, *sorted((ROOT / "tools").rglob("*.py"))]
    assert [path.name for path in programs if "ArgumentParser(" in path.read_text("utf-8")] == []


def test_setup_cfg_has_one_lowest_version_of_each_package():
    assert lowest.lowest(lowest.requirements())["pillow"] == "12.3"


def test_lowest_versions_by_hand():
    groups = {"": ["A_b.c>=1.2", "x[y]>=3,<4"], "z": ["a-b-c>=1.2", "q==7.0"]}
    assert lowest.lowest(groups) == {"a-b-c": "1.2", "x": "3", "q": "7.0"}
    with pytest.raises(ValueError, match=r"a-b-c: 1.2 and 2 \(z\)"):
        lowest.lowest({"": ["A_b.c>=1.2"], "z": ["a-b-c>=2"]})
    with pytest.raises(ValueError, match="no lowest version"):
        lowest.lowest({"": ["a<2"]})

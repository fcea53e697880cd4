"""The documentation is true: commands, options, fields, names and links exist; the notebook runs; the figures of the
network match the code."""

import ast
import configparser
import dataclasses
import importlib
import re
import shlex
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import docs_hook
import draw_architecture
import nbformat
import pytest
import yaml

from mprnet_jax.evaluation.protocols import PROTOCOLS
from mprnet_jax.model import PRESETS, MPRNetConfig
from mprnet_jax.training.config import TrainConfig
from mprnet_jax.training.recipes import load_recipe

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
NOTEBOOKS = sorted((ROOT / "docs/notebooks").glob("*.ipynb"))
FENCE = re.compile(r"^ *```(\w*)[^\n]*\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
BENCHMARKS = [
    f"tools/benchmark.py {what}" for what in ("restore", "train", "start", "memory", "evaluate", "degradations")
]
SLURM_OPTIONS = frozenset({"--gpus-per-task", "--gpu-bind", "--signal"})


def blocks(*languages: str) -> Iterator[tuple[Path, str]]:
    """The fenced blocks of all pages."""
    for page in PAGES:
        for language, text in FENCE.findall(page.read_text(encoding="utf-8")):
            if language in languages:
                yield page, text


def commands() -> Iterator[tuple[Path, list[str]]]:
    """Every command line of this package on a page: the words after `python`, without environment and launcher."""
    for page, text in blocks("sh", "bash", "text"):
        for line in text.replace("\\\n", " ").splitlines():
            for part in re.split(r"&&|\|\||;|\"", line):
                if found := re.search(r"(?:^|[\s/])python3? (-m (?:mprnet_jax|tools)\S*|tools/\S+)(.*)", part):
                    yield page, shlex.split(found[1] + found[2], comments=True)


COMMANDS = list({(page.name, *words): words for page, words in commands()}.items())


@cache
def options_of(command: str) -> frozenset[str]:
    """Every --option that the help of a command, or of its subcommands, names."""
    return frozenset(re.findall(r"(?<![\w-])--[a-z][\w.-]*", docs_hook.help_of(command)))


def test_the_pages_hold_the_commands_that_people_need():
    shown = {" ".join(words[:2]) if words[0] == "-m" else words[0] for _, words in COMMANDS}
    assert {f"-m mprnet_jax.{name}" for name in ("infer", "train", "evaluate", "demo", "export")} <= shown
    assert {"tools/convert_torch_ckpt.py", "tools/check_data.py", "tools/restore_with_ray.py"} <= shown


@pytest.mark.parametrize("words", [words for _, words in COMMANDS], ids=[" ".join(name)[:90] for name, _ in COMMANDS])
def test_a_command_and_its_options_exist(words):
    command = " ".join(words[:2]) if words[0] == "-m" else words[0]
    if command == "-m mprnet_jax.train":
        recipe = words[words.index("--config") + 1] if "--config" in words else docs_hook.RECIPE
        command += f" --config {recipe if recipe.startswith('configs/') else docs_hook.RECIPE}"
    elif command == "tools/benchmark.py" and len(words) > 1 and not words[1].startswith("-"):
        command += f" {words[1]}"
    known = options_of(command)
    assert known, f"{command} has no help"
    unknown = [word for word in words if word.startswith("--") and word.partition("=")[0] not in known]
    assert not unknown, f"{command} has no {unknown}"


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if page.parent.name != "models"],  # cards quote the commands of old commits
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_files_and_options_that_the_text_names_exist(page):
    text = page.read_text(encoding="utf-8")
    for name in re.findall(r"(?<![\w/.])((?:configs|tools|tests|mprnet_jax)/[\w/.]*\w)(?![\w/]*[{*])", text):
        assert (ROOT / name).exists(), name
    ours = (*docs_hook.COMMANDS, *BENCHMARKS, *recipes())
    everything = SLURM_OPTIONS.union(*(options_of(command) for command in ours))
    prose = FENCE.sub("", text)
    for option in re.findall(r"`(--[a-z][\w.-]*)", prose):
        assert option in everything, option


def recipes() -> list[str]:
    return [f"-m mprnet_jax.train --config {path.relative_to(ROOT)}" for path in sorted(ROOT.glob("configs/**/*.py"))]


def test_links_and_anchors_lead_somewhere():
    """Links within the repository; mkdocs --strict checks the built site."""
    made = {"commands.md", *(f"notebooks/{path.stem}.md" for path in NOTEBOOKS)}
    for page in PAGES:
        for target in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", page.read_text(encoding="utf-8"))):
            if re.match(r"https?://", target):
                continue
            file, _, anchor = target.partition("#")
            linked = (page.parent / file) if file else page
            if linked.is_relative_to(ROOT / "docs") and str(linked.relative_to(ROOT / "docs")) in made:
                continue
            assert linked.exists(), f"{page.name} links to {target}"
            if anchor:
                titles = re.findall(r"^#+ (.*)$", linked.read_text(encoding="utf-8"), re.MULTILINE)
                anchors = {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", title).strip().lower()) for title in titles}
                assert anchor in anchors, f"{page.name} links to {target}"


def test_python_on_the_pages_imports_what_exists(tmp_path):
    found = 0
    for page, text in blocks("python"):
        tree = ast.parse(text)
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module.startswith("mprnet_jax"):
                module = importlib.import_module(node.module)
                assert all(hasattr(module, name.name) for name in node.names), f"{page.name}: {ast.unparse(node)}"
                found += 1
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("from_pretrained"):
                from mprnet_jax import RestoreOptions

                fields = {field.name for field in dataclasses.fields(RestoreOptions)}
                assert {keyword.arg for keyword in node.keywords} <= fields, f"{page.name}: {ast.unparse(node)}"
        if any(isinstance(node, ast.FunctionDef) and node.name == "get_config" for node in tree.body):
            (tmp_path / "recipe.py").write_text(text)
            assert all(isinstance(part, TrainConfig) for part in load_recipe(tmp_path / "recipe.py"))
    assert found > 5


def test_the_reference_names_modules_and_classes_that_are_defined_there():
    """mkdocstrings reads the source without running it: a name that a package loads lazily is not found."""
    targets = [name for page in PAGES for name in re.findall(r"^::: (\S+)", page.read_text(encoding="utf-8"), re.M)]
    assert len(targets) > 20
    for target in targets:
        path = ROOT / target.replace(".", "/")
        if path.with_suffix(".py").is_file() or (path / "__init__.py").is_file():
            continue
        module = ast.parse(path.parent.with_suffix(".py").read_text(encoding="utf-8"))
        assert path.name in {getattr(node, "name", "") for node in module.body}, target


def test_shell_on_the_pages_can_be_parsed():
    for page, text in blocks("sh", "bash"):
        checked = subprocess.run(["bash", "-n"], input=text, text=True, capture_output=True, check=False)
        assert checked.returncode == 0, f"{page.name}: {checked.stderr}"


def test_extras_that_the_pages_name_exist():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    extras = set(setup["options.extras_require"])
    named = set()
    for page in PAGES:
        named |= set(re.findall(r'"(?:\.|mprnet_jax)\[(\w+)\]"', page.read_text(encoding="utf-8")))
    assert named <= extras
    # The quick start lists every extra that a command can ask for; `test` is for developers.
    assert extras - {"test"} <= set(re.findall(r"\[(\w+)\]", (ROOT / "docs/index.md").read_text(encoding="utf-8")))


def test_the_published_numbers_are_those_of_the_protocols():
    page = (ROOT / "docs/reproduce.md").read_text(encoding="utf-8")
    for name, protocol in PROTOCOLS.items():
        if name == "custom":
            continue
        row = next(line for line in page.splitlines() if f"| `{name}` |" in line)
        assert f"({protocol.pairs:,}" in row
        assert f"| {protocol.published[0]:.2f}, {protocol.published[1]:.3f} |" in row
        if protocol.published_tlc:
            assert f"| {protocol.published_tlc[0]:.2f}, {protocol.published_tlc[1]:.3f} |" in row


def test_every_page_has_its_place_and_nothing_comes_from_other_hosts():
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    assert config["theme"]["font"] is False
    assert not {"extra_javascript", "extra_css"} & set(config)
    places = set(re.findall(r"[\w/]+\.md", str(config["nav"])))
    for page in (ROOT / "docs").rglob("*.md"):
        name = str(page.relative_to(ROOT / "docs"))
        assert name in places or name.startswith("models/"), f"{name} is not in the navigation of mkdocs.yml"


def test_the_pictures_of_the_network_are_those_of_the_code():
    """Drawn again they are the same; `python tools/draw_architecture.py --output docs/architecture` updates them."""
    folder = ROOT / "docs/architecture"
    drawn = draw_architecture.pictures("deblurring", 256)
    assert {path.stem for path in folder.glob("*.svg")} == set(drawn)
    for name, svg in drawn.items():
        assert (folder / f"{name}.svg").read_text(encoding="utf-8") == svg, name


@pytest.fixture(scope="module")
def network() -> list[draw_architecture.Node]:
    cfg = MPRNetConfig(n_feat=6, scale_unetfeats=2, scale_orsnetfeats=4, num_cab=1, reduction=1)
    return draw_architecture.graph(draw_architecture.trace(cfg, 32), ())


def test_the_picture_of_the_network_has_the_connections_of_the_paper(network):
    """Taken from the paper's figure 2 and the sizes of this network, not from the code."""
    sources = {node.name: {source.name for source in node.sources} for node in network if node.kind == "module"}
    assert sources["stage1_encoder"] == {"shallow_feat1_cab"}
    assert sources["stage1_decoder"] == {"stage1_encoder"}
    assert sources["sam12"] == {"stage1_decoder", "image"}
    assert sources["concat12"] == {"join"}
    assert sources["stage2_encoder"] == {"concat12", "stage1_encoder", "stage1_decoder"}
    assert sources["sam23"] == {"stage2_decoder", "image"}
    assert sources["stage3_orsnet"] == {"concat23", "stage2_encoder", "stage2_decoder"}
    joins = [{source.name for source in node.sources} for node in network if node.name == "join"]
    assert joins == [{"shallow_feat2_cab", "sam12"}, {"shallow_feat3_cab", "sam23"}]
    ends = {node.name: {source.name for source in node.sources} for node in network if node.kind == "output"}
    assert ends == {"restored, stage 1": {"sam12"}, "restored, stage 2": {"sam23"}, "restored, stage 3": {"+"}}
    encoder = next(node for node in network if node.name == "stage1_encoder")
    assert [line.replace(f"{draw_architecture.TIMES} ", "") for line in encoder.lines[-3:]] == [
        "4 16 16 6",
        "4 8 8 8",
        "4 4 4 10",
    ]  # quarters of the image


def test_a_picture_is_svg_whose_boxes_do_not_overlap(network):
    draw_architecture.place(network)
    assert len({(node.row, node.lane) for node in network}) == len(network)
    assert all(source.row < node.row for node in network for source in node.sources)
    root = ET.fromstring(draw_architecture.draw(network, "a < b"))
    texts = {element.text for element in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {"stage1_encoder", "stage3_orsnet", "restored, stage 3"} <= texts


@pytest.mark.slow
def test_the_notebook_runs_and_is_kept_without_outputs():
    (path,) = NOTEBOOKS
    kept = nbformat.read(path, as_version=4)
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in kept.cells)
    run = docs_hook.run_notebook(path)
    page, pictures = docs_hook.notebook_page(run, path.stem)
    assert "restored 28." in page  # dB, of the weights that ship
    assert "step  60  loss" in page
    assert pictures
    assert all(name in page and data.startswith(b"\x89PNG") for name, data in pictures.items())


def test_the_page_of_commands_is_what_they_say():
    page = docs_hook.commands_page()
    for command in docs_hook.COMMANDS:
        assert f"## {command.removeprefix('-m ').split()[0]}\n" in page
    for name in ("--self-ensemble", "--model.n-feat", "--protocol", "--every-stage", "--degradation.sigma"):
        assert name in page
    assert "\x1b" not in page


def test_the_workflow_runs_what_must_pass_on_every_python():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    versions = re.findall(r"Python :: (3\.\d+)", setup["metadata"]["classifiers"])
    job = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))["jobs"]["ci"]
    assert job["strategy"]["matrix"]["python-version"] == versions
    assert ".ci/run" in [step.get("run") for step in job["steps"]]
    assert (ROOT / ".ci/run").stat().st_mode & 0o111


def test_presets_named_on_the_pages_exist():
    for page, text in blocks("python"):
        for name in re.findall(r"PRESETS\[\"(\w+)\"\]", text):
            assert name in PRESETS, page.name

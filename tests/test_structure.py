"""The package can be read from its tree: sizes of modules and packages, docstrings and annotations of public names."""

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "mprnet_jax"
MODULES = sorted(PACKAGE.rglob("*.py"))
MOST_LINES = 460  # of a file
MOST_MODULES = 14  # of a package, beside __init__
MOST_AT_THE_TOP = 8  # files of mprnet_jax/ itself

# Names of other packages whose docstrings are missing. Only ever shorter.
UNDOCUMENTED = frozenset(
    [
        "checkpoints.pretrained.ShippedModel.path",
        "data.build.main",
        "data.pipeline.CropAndAugment.augment",
        "data.pipeline.CropAndAugment.random_map",
        "data.prepare.sidd_patches.Photo",
        "data.prepare.tfds_builders.GoPro",
        "data.prepare.tfds_builders.HIDE",
        "data.prepare.tfds_builders.Rain13K",
        "data.prepare.tfds_builders.RealBlurJ",
        "data.prepare.tfds_builders.RealBlurR",
        "data.sources.source.CleanPhotos.names",
        "data.sources.source.CleanPhotos.read",
        "data.sources.source.CleanPhotos.subset",
        "data.sources.source.Pairs.names",
        "data.sources.source.Pairs.read",
        "data.sources.source.Pairs.subset",
        "data.sources.tfds.TfdsPairs.names",
        "data.sources.tfds.TfdsPairs.read",
        "data.sources.tfds.TfdsPairs.subset",
        "demo.main",
        "demo.parse_args",
        "evaluate.main",
        "evaluate.parse_args",
        "evaluation.tables.options_text",
        "export.main",
        "export.parse_args",
        "images.formats.tiff_directories.Directory.is_mask",
        "images.formats.tiff_directories.Directory.is_smaller_copy",
        "images.headers.Header.mode",
        "images.headers.Header.size",
        "infer.main",
        "infer.parse_args",
        "training.log.JsonLines.close",
        "training.log.JsonLines.write",
        "training.log.Log.write",
        "training.log.Sink.close",
        "training.log.Sink.write",
        "training.log.TensorBoard.close",
        "training.log.TensorBoard.show",
        "training.log.TensorBoard.write",
        "training.loop.Loop.close_batches",
        "training.loop.Loop.due",
        "web.photos.Limits.bytes",
        "web.photos.Limits.pixels",
        "web.photos.size",
        "web.store.Store.end_all",
    ]
)

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
    assert missing - UNDOCUMENTED == set()
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

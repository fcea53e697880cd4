"""Draw the network and its blocks from a trace of the code; nothing about the network is hard-coded here.

python tools/draw_architecture.py --output docs/architecture
The network is traced once, without being executed. Every operation of the trace carries the name of its module, so
boxes are modules, and an arrow leads from a module to each user of its outputs. Operations of a block between its
modules are drawn as small circles (a sum, a product ...); operations that only move pixels are not drawn.
"""

import argparse
import dataclasses
import math
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.extend.core import Literal

from mprnet_jax.model import PRESETS, Concatenation, MPRNet, MPRNetConfig, Params, abstract_params, count_parameters
from mprnet_jax.support.atomic_files import whole_file
from mprnet_jax.support.command_line import Parser

BLOCKS = {  # file -> path of a block of this kind in the network
    "network": (),
    "encoder": ("stage2_encoder",),
    "decoder": ("stage1_decoder",),
    "orsnet": ("stage3_orsnet",),
    "orb": ("stage3_orsnet", "orb1"),
    "sam": ("sam12",),
    "cab": ("shallow_feat1_cab",),
    "attention": ("shallow_feat1_cab", "ca"),
}
TIMES = "\N{MULTIPLICATION SIGN}"
SYMBOLS = {"add": "+", "mul": TIMES, "concatenate": "join", "logistic": "sigmoid", "reduce_sum": "mean"}
INPUT, OUTPUT, CIRCLE, MODULE = "input", "output", "circle", "module"

WIDTH, GUTTER, ROW_GAP, LINE, RADIUS, MARGIN = 172, 76, 30, 16, 17, 16  # pixels
STYLE = """svg{background:#fff}text{font:12px system-ui,sans-serif;fill:#1b2430;text-anchor:middle}
.name{font-weight:600}.small{font-size:11px;fill:#4c5a6b}path{fill:none;stroke:#6b7a8c;stroke-width:1.4}
.module{fill:#e6eefb;stroke:#3b6fc4}.circle{fill:#fff;stroke:#6b7a8c}.input{fill:#eef3e6;stroke:#6d9443}
.output{fill:#fdf0dc;stroke:#c98a1b}"""


@dataclasses.dataclass
class Node:
    """A box or circle."""

    kind: str
    name: str
    lines: list[str] = dataclasses.field(default_factory=list)  # below the name: class, parameters, shapes
    sources: list["Node"] = dataclasses.field(default_factory=list)
    lane: int = 0
    row: int = 0

    def __hash__(self) -> int:
        return id(self)

    __eq__ = object.__eq__

    @property
    def height(self) -> int:
        """In pixels."""
        return 2 * RADIUS if self.kind == CIRCLE else LINE * (1 + len(self.lines)) + 12


def trace(cfg: MPRNetConfig, side: int) -> tuple[Any, Params, dict[tuple[str, ...], str]]:
    """The network's operations for one side x side image, its parameters' shapes, and the class of each module."""
    classes = {}

    def note(call: Any, args: tuple, kwargs: dict, context: Any) -> Any:
        classes[context.module.path] = type(context.module).__name__
        return call(*args, **kwargs)

    params = abstract_params(cfg)
    with nn.intercept_methods(note):
        apply = lambda params, image: MPRNet(cfg).apply({"params": params}, image)
        jaxpr = jax.make_jaxpr(apply)(params, jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32))
    return jaxpr.jaxpr, params, classes


def graph(traced: tuple[Any, Params, dict[tuple[str, ...], str]], block: tuple[str, ...]) -> list[Node]:
    """Nodes of a block, in the order of computation; () is the whole network."""
    jaxpr, params, classes = traced
    nodes: list[Node] = []
    modules: dict[str, Node] = {}
    made_by: dict[Any, Node] = {}  # by variable
    unmoved: set[Any] = set()  # outputs of modules, not yet moved
    outside = {jaxpr.invars[-1]: "image"}  # variables from outside the block -> name of their source
    taken_in: dict[tuple[Node, Any], Node] = {}  # each user of an outside variable has its own input

    def note_shape(variable: Any) -> None:
        """List the shape of an output on its module if others use it."""
        if variable in unmoved and shape_of(variable) not in made_by[variable].lines:
            made_by[variable].lines.append(shape_of(variable))

    def use(variable: Any, node: Node) -> None:
        """Add an arrow from the source of a variable to a node."""
        source = made_by.get(variable)
        if source is None and variable in outside:
            if (node, variable) not in taken_in:
                taken_in[node, variable] = Node(INPUT, outside[variable], [shape_of(variable)])
                nodes.append(taken_in[node, variable])
            source = taken_in[node, variable]
        if source is None or source is node:
            return
        note_shape(variable)
        if source not in node.sources:
            node.sources.append(source)

    for eqn in jaxpr.eqns:
        # The path after the network's name; a component with a dot is a method of the module before it. A
        # concatenation is drawn as an operation, although it is a module.
        names = str(eqn.source_info.name_stack).split("/")[1:]
        path = tuple(name for name in names if "." not in name and not name.startswith(Concatenation.__name__))
        inputs = [variable for variable in eqn.invars if not isinstance(variable, Literal)]
        known = [variable for variable in inputs if variable in made_by or variable in outside]
        if path[: len(block)] != block:
            for variable in known:
                if variable in made_by and not any(made_by[variable] in node.sources for node in nodes if is_end(node)):
                    nodes.append(end := Node(OUTPUT, "to the next block", [shape_of(variable)]))
                    use(variable, end)
            name = path[0] if path else next((outside[v] for v in known if v in outside), "")
            outside.update(dict.fromkeys(eqn.outvars, name))
        elif len(path) > len(block):
            name = path[len(block)]
            if name not in modules:
                modules[name] = Node(MODULE, name, describe((*block, name), classes, params))
                nodes.append(modules[name])
            for variable in known:
                use(variable, modules[name])
            made_by.update(dict.fromkeys(eqn.outvars, modules[name]))
            unmoved.update(eqn.outvars)
        elif label := operation(eqn, constant=len(known) < len(eqn.invars)):
            node = made_by.get(known[0])
            if not (label == "mean" and node is not None and node.name == label):  # rows, then columns: one mean
                nodes.append(node := Node(CIRCLE, label))
            for variable in known:
                use(variable, node)
            made_by.update(dict.fromkeys(eqn.outvars, node))
        elif known:  # pixels are only moved: the output belongs to the same node
            moved = made_by if known[0] in made_by else outside
            moved.update(dict.fromkeys(eqn.outvars, moved[known[0]]))
            note_shape(known[0])
    for number, variable in enumerate(() if block else jaxpr.outvars):
        nodes.append(end := Node(OUTPUT, f"restored, stage {len(jaxpr.outvars) - number}", [shape_of(variable)]))
        use(variable, end)
    return nodes


def is_end(node: Node) -> bool:
    """Whether a node is an output."""
    return node.kind == OUTPUT


def operation(eqn: Any, constant: bool) -> str | None:
    """Label of the circle for an operation between modules; None if it only moves pixels or scales by a constant."""
    name = eqn.primitive.name
    if name == "custom_jvp_call":  # relu
        return eqn.params["call_jaxpr"].jaxpr.eqns[0].params.get("name", name)
    return None if constant else SYMBOLS.get(name)


def shape_of(variable: Any) -> str:
    """Shape of a variable, as text: "1 x 64 x 64 x 96"."""
    return f" {TIMES} ".join(map(str, variable.aval.shape))


def describe(path: tuple[str, ...], classes: dict[tuple[str, ...], str], params: Params) -> list[str]:
    """Class and number of parameters of a module; parameters of a shared module are at the top of the tree."""
    found = params
    for name in path:
        found = found.get(name, {}) if isinstance(found, dict) else {}
    what = classes.get(path) or classes.get(path[-1:], "")
    if what == "Conv":
        size = found["kernel"].shape[:2]
        what = f"convolution {size[0]} {TIMES} {size[1]}"
    if not found:
        return [f"{what}, shared" if path[-1] in params else what]
    return [what, f"{count_parameters(found):,} parameters"]


def place(nodes: list[Node]) -> None:
    """Give every node a row (below all its sources) and a lane: a stage's number, or 0 for the longest path."""
    users = {node: [other for other in nodes if node in other.sources] for node in nodes}
    in_order: list[Node] = []
    while len(in_order) < len(nodes):
        in_order += [n for n in nodes if n not in in_order and all(source in in_order for source in n.sources)]
    for node in in_order:
        node.row = max((source.row + 1 for source in node.sources), default=0)
    for node in reversed(in_order):  # as late as its users allow
        if users[node]:
            node.row = min(user.row for user in users[node]) - 1
    outputs = [node for node in nodes if is_end(node)]
    if any("stage" in node.name for node in outputs):
        main: set[Node] = set()
        for stage, output in enumerate(reversed(outputs)):
            for node in ancestors(output) - main:
                node.lane = stage
                main.add(node)
        main -= {node for node in main if node.kind == INPUT and len(users[node][0].sources) > 1}
        lanes = len(outputs)
    else:
        node = max(outputs, key=lambda node: node.row)
        main = {node}
        while node.sources:
            node = max(node.sources, key=lambda node: (node.row, node.kind != INPUT))
            main.add(node)
        lanes = 0
    taken = {(node.row, node.lane) for node in main}
    for node in reversed(in_order):
        if node in main:
            continue
        if lanes:  # in a neighbouring lane, in a higher row if this one is taken
            lane = users[node][0].lane
            free = (
                (row, near) for row in range(node.row, -1, -1) for near in (lane + 1, lane - 1) if 0 <= near < lanes
            )
            node.row, node.lane = next(place for place in free if place not in taken)
        else:
            node.lane = min((user.lane for user in users[node]), default=1)
            while (node.row, node.lane) in taken:
                node.lane += 1
        taken.add((node.row, node.lane))
    rows = sorted({node.row for node in nodes})  # skip rows that are now empty
    for node in nodes:
        node.row = rows.index(node.row)


def ancestors(node: Node) -> set[Node]:
    """A node and everything that it depends on."""
    return {node}.union(*(ancestors(source) for source in node.sources))


def draw(nodes: Sequence[Node], title: str) -> str:
    """The drawing as SVG: rows downwards, lanes to the right. Call place(nodes) first."""
    rows = range(max(node.row for node in nodes) + 1)
    heights = [max((node.height for node in nodes if node.row == row), default=0) for row in rows]
    tops = [MARGIN + sum(heights[:row]) + row * ROW_GAP for row in rows]
    box: dict[Node, tuple[float, float, float, float]] = {}  # x of the centre, y of the top, width, height
    for node in nodes:
        x = MARGIN + node.lane * (WIDTH + GUTTER) + WIDTH / 2
        y = tops[node.row] + (heights[node.row] - node.height) / 2
        box[node] = (x, y, 2 * RADIUS if node.kind == CIRCLE else WIDTH, node.height)
    arrows, used = [], {}
    for node in nodes:
        for source in node.sources:
            arrows.append(f'<path d="{arrow(source, node, box, nodes, used)}" marker-end="url(#end)"/>')
    lanes = 1 + max(node.lane for node in nodes)
    beside = GUTTER if lanes - 1 in used else 0
    size = (2 * MARGIN + lanes * (WIDTH + GUTTER) - GUTTER + beside, tops[-1] + heights[-1] + MARGIN)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size[0]} {size[1]}" width="{size[0]}" role="img">',
            f"<title>{escape(title)}</title><style>{STYLE}</style>",
            f'<rect width="{size[0]}" height="{size[1]}" fill="#fff"/>',
            '<marker id="end" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
            '<path d="M0 0L8 4L0 8z" style="fill:#6b7a8c;stroke:none"/></marker>',
            *arrows,
            *(text for node in nodes for text in node_svg(node, *box[node])),
            "</svg>\n",
        ]
    )


def arrow(source: Node, node: Node, box: dict[Node, tuple], nodes: Sequence[Node], used: dict[int, int]) -> str:
    """SVG path: direct between neighbouring rows, otherwise through the gutter beside a lane."""
    (x0, y0, w0, h0), (x1, y1, w1, h1) = box[source], box[node]
    between = [n for n in nodes if n.lane == source.lane and source.row < n.row < node.row]
    if node.row == source.row + 1 or (node.lane == source.lane and not between):
        bend = (y1 - y0 - h0) / 2
        return f"M{x0:g} {y0 + h0:g}C{x0:g} {y0 + h0 + bend:g} {x1:g} {y1 - bend:g} {x1:g} {y1:g}"
    right = node.lane >= source.lane
    gutter = source.lane if right else source.lane - 1
    used[gutter] = used.get(gutter, 0) + 1
    gx = MARGIN + gutter * (WIDTH + GUTTER) + WIDTH + 10 * used[gutter] % (GUTTER - 12) + 4
    begin = x0 + (w0 / 2 if right else -w0 / 2)
    end = x1 + (w1 / 2 if gx > x1 else -w1 / 2)
    ya, yb = y0 + h0 / 2 + 3 * used[gutter] % 12, y1 + h1 / 2 + math.copysign(4, x0 - x1) * (h1 > 2 * RADIUS)
    r0, r1 = math.copysign(6, gx - begin), math.copysign(6, end - gx)
    return (
        f"M{begin:g} {ya:g}H{gx - r0:g}Q{gx:g} {ya:g} {gx:g} {ya + 6:g}V{yb - 6:g}Q{gx:g} {yb:g} {gx + r1:g} {yb:g}"
        f"H{end:g}"
    )


def node_svg(node: Node, x: float, y: float, width: float, height: float) -> list[str]:
    """SVG elements of a node whose top centre is at x, y."""
    if node.kind == CIRCLE:
        half = max(RADIUS, 4 * len(node.name))
        shape = f'<rect x="{x - half:g}" y="{y:g}" width="{2 * half:g}" height="{height:g}" rx="{RADIUS}"'
        return [f'{shape} class="circle"/><text x="{x:g}" y="{y + height / 2 + 4:g}">{escape(node.name)}</text>']
    rect = f'<rect x="{x - width / 2:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="5" class="{node.kind}"/>'
    texts = [f'<text class="name" x="{x:g}" y="{y + LINE + 2:g}">{escape(node.name)}</text>']
    for i, line in enumerate(node.lines):
        texts.append(f'<text class="small" x="{x:g}" y="{y + (i + 2) * LINE + 2:g}">{escape(line)}</text>')
    return [rect, *texts]


def pictures(preset: str, side: int) -> dict[str, str]:
    """All drawings as SVG, by file name without extension."""
    traced = trace(PRESETS[preset], side)
    drawn = {}
    for name, block in BLOCKS.items():
        nodes = graph(traced, block)
        place(nodes)
        drawn[name] = draw(nodes, f"MPRNet, {name} ({preset}, {side} x {side} pixels)")
    return drawn


def main(argv: Sequence[str] | None = None) -> None:
    """Write all drawings into a folder."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="folder for the SVG files")
    parser.add_argument("--preset", choices=PRESETS, default="deblurring", help="sizes (default: %(default)s)")
    parser.add_argument("--side", type=int, default=256, help="side of the image in pixels (default: %(default)s)")
    args = parser.parse_args(argv)
    args.output.mkdir(parents=True, exist_ok=True)
    for name, svg in pictures(args.preset, args.side).items():
        with whole_file(args.output / f"{name}.svg") as temporary:
            temporary.write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    main()

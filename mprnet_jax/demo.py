"""A web page that restores photos: `python -m mprnet_jax.demo`, then open the address that it prints."""

import argparse
import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from mprnet_jax.checkpoints.pretrained import SAMPLES
from mprnet_jax.restoring import add_restore_options, restore_options
from mprnet_jax.runtime.compile_cache import use_compile_cache
from mprnet_jax.runtime.devices import find_devices
from mprnet_jax.support.command_line import Parser, add_cache_option, path_option
from mprnet_jax.support.errors import UserError, exit_on_user_error
from mprnet_jax.support.optional_imports import import_extra
from mprnet_jax.web.addresses import Names, host_of, is_loopback
from mprnet_jax.web.models import load_models, tasks
from mprnet_jax.web.photos import Limits
from mprnet_jax.web.store import Store
from mprnet_jax.web.temporary_folder import temporary_folder

COMMAND = "mprnet_jax.demo"
FIXED = (
    "tile",
    "overlap",
    "patch_size",
    "dtype",
    "engine",
    "engine_device",
    "devices",
    "batch",
)  # options that visitors do not choose
TILE_SECONDS = 2.0  # that the end waits for the tile at hand
UPLOADS_KEPT = 40  # photos of the largest size that the store has room for


def announce(host: str, port: int) -> None:
    """Say where the page is, and who can open it if others can."""
    if not is_loopback(host):
        print(
            f"{COMMAND}: warning: listening on {host}: whoever reaches this machine can use the page, without a "
            "password and without encryption",
            file=sys.stderr,
        )
    print(f"open http://{host}:{port} in a browser; Ctrl-C ends it", flush=True)


def check_address(host: str, port: int) -> None:
    """Raise UserError if nothing can listen there: before the weights are loaded, not after it."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise UserError(f"--host {host} --port {port}: cannot be used ({error.strerror}); choose others") from error


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command's options."""
    parser = Parser(
        prog=f"python -m {COMMAND}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Serve a web page that restores photos, for this machine alone unless --host says otherwise.",
        epilog="""examples:
  the weights that ship with the package, on http://127.0.0.1:7860:
    python -m mprnet_jax.demo
  also converted official weights (tools/convert_torch_ckpt.py):
    python -m mprnet_jax.demo --checkpoint checkpoints/deblurring

Nothing is sent anywhere. Photos lie in a temporary folder until the page is closed.
needs: pip install 'mprnet_jax[demo]'""",
    )
    where = parser.add_argument_group("where")
    where.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s, this machine)")
    where.add_argument("--port", type=int, default=7860, help="default: %(default)s")
    where.add_argument(
        "--allowed-hosts",
        metavar="NAME",
        nargs="+",
        default=[],
        help="names that browsers may open the page under besides its own address, such as that of a reverse proxy",
    )
    what = parser.add_argument_group("what is offered")
    what.add_argument(
        "--checkpoint",
        metavar="DIR",
        nargs="+",
        type=path_option,
        default=[],
        help="bundles beside the weights that ship",
    )
    add_restore_options(parser.add_argument_group("how photos are restored, beside what the page offers"), FIXED)
    parser.set_defaults(restore_dtype="auto")
    limits = parser.add_argument_group("limits")
    limits.add_argument(
        "--max-megapixels", type=float, metavar="N", default=64, help="of a photo (default: %(default)s)"
    )
    limits.add_argument(
        "--max-megabytes", type=float, metavar="N", default=200, help="of a file (default: %(default)s)"
    )
    limits.add_argument("--queue", type=int, metavar="N", default=64, help="how many may wait (default: %(default)s)")
    limits.add_argument(
        "--keep-minutes",
        type=float,
        metavar="N",
        default=30,
        help="delete photos and results this time after the last work on them, even if the page stays open "
        "(default: %(default)s)",
    )
    add_cache_option(parser)
    args = parser.parse_args(argv)
    args.options = restore_options(parser, args)
    if not 1 <= args.port <= 65535:
        parser.error(f"--port must be in 1..65535, got {args.port}")
    for name in args.allowed_hosts:
        if host_of(name) != name.lower():
            parser.error(
                f"--allowed-hosts takes names such as photos.example.org, without http:// and port; got {name}"
            )
    for name in ("max_megapixels", "max_megabytes", "queue", "keep_minutes"):
        if not getattr(args, name) > 0:
            parser.error(f"--{name.replace('_', '-')} must be more than 0, got {getattr(args, name)}")
    return args


@contextlib.contextmanager
def gradio_home() -> Iterator[Path]:
    """A temporary folder for all files of the page, gone afterwards. To be entered before Gradio is imported."""
    with temporary_folder() as home:
        os.environ |= {
            "GRADIO_TEMP_DIR": str(home),
            "GRADIO_EXAMPLES_CACHE": str(home / "examples"),
            "GRADIO_ANALYTICS_ENABLED": "False",
            # Gradio calls its own address at the start, and nothing else: no proxy has to do with that.
            "NO_PROXY": "*",
            "no_proxy": "*",
        }
        yield home


def serve(args: argparse.Namespace) -> bool:
    """Serve the page until Ctrl-C or SIGTERM. Raises UserError for weights or an address that cannot be used.

    False if a tile is still being worked on in the background.
    """
    limits = Limits(args.max_megapixels, args.max_megabytes)
    check_address(args.host, args.port)
    devices = find_devices(args.options.devices, pictures=1)  # photos are restored one after another
    models = load_models(args.checkpoint, options=args.options.replace(devices=devices))
    asked_to_end = threading.Event()

    def end(*_: object) -> None:
        asked_to_end.set()  # if it comes while the page starts, a library may swallow the exit
        sys.exit(0)

    signal.signal(signal.SIGTERM, end)  # so that the temporary folder goes then, too
    with gradio_home() as home:
        import_extra("gradio", "gradio", "demo")
        from mprnet_jax.web import actions
        from mprnet_jax.web import page as web

        store = Store(home, args.keep_minutes * 60, UPLOADS_KEPT * limits.bytes)
        inputs = {task: SAMPLES / task / "input" for task in tasks(models)}
        try:
            samples = {task: store.add_samples(folder, task) for task, folder in inputs.items() if folder.is_dir()}
        except OSError as error:  # shutil.Error, of many files, has no strerror
            reason = error.strerror or "not all samples could be copied"
            raise UserError(f"{home.parent}: cannot be used ({reason}); make room, or set TMPDIR elsewhere") from error
        page = actions.Page(models, store, limits)
        blocks = web.build(page, samples, args.queue)
        with store.sweeping():
            names = Names(args.host, tuple(name.lower() for name in args.allowed_hosts))
            web.launch(blocks, page, names, args.port)
            try:
                announce(args.host, args.port)
                with contextlib.suppress(KeyboardInterrupt, SystemExit):
                    asked_to_end.wait()
            finally:
                blocks.close(verbose=False)
                idle = page.close(TILE_SECONDS)
    return idle


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the options and serve the page until Ctrl-C."""
    args = parse_args(argv)
    if not args.no_compile_cache:
        use_compile_cache()
    with exit_on_user_error(COMMAND):
        if not serve(args):
            os._exit(0)  # everything is cleaned up; an ordinary end would abort within XLA's computation


if __name__ == "__main__":
    main()

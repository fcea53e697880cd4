"""What `python -m mprnet_jax.evaluate` is made of.

run (from a request to results), protocols (how a set is scored, and what was published), test_sets (which pairs there
are), candidates (the weights or files under test), scoring (pairs -> scores), results (scores on disk), sidd, dnd,
matlab and realblur (what four protocols need), comparison (statistics of two results), result_page, comparison_page and
tables (what is shown).
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mprnet_jax.evaluation.comparison_page import compare
    from mprnet_jax.evaluation.protocols import PROTOCOLS
    from mprnet_jax.evaluation.run import Request, evaluate

__all__ = ["PROTOCOLS", "Request", "compare", "evaluate"]
_HOMES = {"PROTOCOLS": "protocols", "Request": "run", "compare": "comparison_page", "evaluate": "run"}


def __getattr__(name: str) -> Any:
    """Loads what is asked for: a command's --help need not load the network."""
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

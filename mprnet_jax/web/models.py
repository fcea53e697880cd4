"""What the page offers: the weights that ship, and bundles named with --checkpoint."""

import dataclasses
import functools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mprnet_jax.checkpoints.pretrained import PRETRAINED, TASKS
from mprnet_jax.restoring import Restorer
from mprnet_jax.support.errors import UserError

OTHER = "other"  # the task of a bundle that does not say what it was trained for


@dataclasses.dataclass(frozen=True)
class Model:
    """Weights in memory, under the name that visitors see: that of the bundle's folder, nothing of where it lies."""

    name: str
    task: str  # of pretrained.TASKS, or OTHER
    restorer: Restorer


def load_models(checkpoints: Iterable[str | Path], **options: Any) -> list[Model]:
    """Shipped weights and bundles, with `options` of Restorer. Raises UserError for a bundle that cannot be read."""
    models = []
    for source in (*PRETRAINED, *checkpoints):
        restorer = Restorer.from_pretrained(source, **options)
        name = Path(PRETRAINED.get(source, source)).absolute().name
        task = source if source in PRETRAINED else _task(restorer.provenance)
        if any(model.name == name for model in models):
            raise UserError(f"--checkpoint {source}: the page has a model called {name} already; rename the folder")
        models.append(Model(name, task, restorer))
    return models


def _task(provenance: Any) -> str:
    """What provenance says of the task; `provenance` is a mapping, or an object with these as attributes."""
    said = provenance.get if isinstance(provenance, Mapping) else functools.partial(_attribute, provenance)
    named = (said(key) for key in ("task", "official"))
    return next((task for task in named if isinstance(task, str) and task in TASKS), OTHER)


def _attribute(provenance: Any, name: str) -> Any:
    return getattr(provenance, name, None)


def tasks(models: Sequence[Model]) -> list[str]:
    """The tasks that there are weights for, in the order of the models."""
    return list(dict.fromkeys(model.task for model in models))


def choose(models: Sequence[Model], task: str | None, name: str | None) -> Model:
    """The model of a name, else the first for a task, else the first. Raises UserError that lists the choices."""
    if name is None and task is None:
        return models[0]
    fitting = [model for model in models if task in (None, model.task) and name in (None, model.name)]
    if not fitting:
        offered = ", ".join(f"{model.name} ({model.task})" for model in models)
        wanted = " for ".join(str(wish) for wish in (name, task) if wish is not None)
        raise UserError(f"no model {wanted} here; choose from {offered}")
    return fitting[0]

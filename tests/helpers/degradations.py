"""Every kind of degradation, as it is without any option."""

import typing

from mprnet_jax.data.degradations.mixture import Mixture, Step

KINDS = {kind.__name__: kind for kind in (*typing.get_args(Step), Mixture)}

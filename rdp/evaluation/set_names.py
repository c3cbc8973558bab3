"""What set-level metrics are called, and which features each is of.

fid, kid             short for fid_inception and kid_inception: Fréchet and kernel distance of Inception features
fd_squeeze, kd_squeeze
                     the same distances of SqueezeNet features: a stand-in that no number called FID or KID may be
                     compared with
fd_NAME, kd_NAME     of a network of the user's, which is given with the name
swd                  sliced Wasserstein distance of patches of Laplacian pyramids; needs no weights
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from rdp.columns import is_set_level
from rdp.errors import SpecError, suggest
from rdp.metrics import set_level
from rdp.metrics.feature_networks import NETWORKS

if TYPE_CHECKING:
    from torch import nn

Distance = Literal["frechet", "kernel", "sliced"]

SHORT, SLICED = set_level.SHORT, set_level.SLICED
_OWN = re.compile(r"(fd|kd)_([a-z][a-z0-9_]*)")


def _registered() -> dict[str, tuple[str, Distance]]:
    """Names of distances of the registered networks: the network, and which distance."""
    found: dict[str, tuple[str, Distance]] = {}
    for network, entry in NETWORKS.items():
        found[entry.frechet] = (network, "frechet")
        found[entry.kernel] = (network, "kernel")
    return found


SET_METRICS: tuple[str, ...] = (*SHORT, *_registered(), SLICED)
"""Every name that needs no network of the user's."""


@dataclass(frozen=True)
class SetMetric:
    """`name` as in tables (`kid_inception`); `network` is a registered one, the user's name for theirs, or ""."""

    name: str
    distance: Distance
    network: str
    own: bool = False


def is_set_metric(name: str) -> bool:
    """Whether this is the name of a set-level metric: one of `SET_METRICS`, or `fd_NAME` or `kd_NAME`."""
    return is_set_level(name)


def set_metric(name: str, network: str | nn.Module | None = None) -> SetMetric:
    """What a name means. `network` is the user's, for names that need one.

    Raises `SpecError` for a name of no set-level metric, and for `fd_NAME` and `kd_NAME` without a network.
    """
    if name == SLICED:
        return SetMetric(SLICED, "sliced", "")
    full = SHORT.get(name, name)
    known = _registered().get(full)
    if known is not None:
        return SetMetric(full, known[1], known[0])
    match = _OWN.fullmatch(name)
    if match is None:
        raise SpecError(
            f"{name!r} is no set-level metric.{suggest(name, SET_METRICS)} They are {', '.join(SET_METRICS)}, and "
            "fd_NAME and kd_NAME of a network of yours"
        )
    if network is None:
        raise SpecError(
            f"{name} is a distance of features of a network of yours: name it with --network package.module:attribute "
            f"(network=), or take one of {', '.join(SET_METRICS)}"
        )
    return SetMetric(name, "frechet" if match[1] == "fd" else "kernel", match[2], own=True)

"""Distances of sets, of all images together, for a list: names, what they are of, and whether their weights are here.

No torch is loaded and no weights are read. What the names mean to the evaluation stands in `rdp.evaluation.set_names`.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from rdp.metrics.feature_networks import NETWORKS, NetworkEntry
from rdp.weights import find_entry, load_index, look_at

SLICED = "swd"
SHORT = {"fid": "fid_inception", "kid": "kid_inception"}
"""Short names, and those in tables."""
_INCEPTION = "inception"


@dataclass(frozen=True)
class SetLevelDescription:
    """One distance of sets.

    `short` is another name of it, or empty. `weights` are alternatives, any of which will do; `found` is the one on
    this machine (not verified), None where there is none or none is needed. `package` is the distribution that builds
    the network and is not installed here, else empty. `problem` says what is wrong with a file of weights.
    """

    name: str
    short: str
    meaning: str
    least_side: int
    weights: tuple[str, ...] = ()
    found: str | None = None
    package: str = ""
    problem: str = ""

    @property
    def ready(self) -> bool:
        """Whether it can be computed here, as far as can be seen without reading weights."""
        return not self.package and (not self.weights or self.found is not None)


def set_level_names() -> tuple[str, ...]:
    """All names: the short ones, those of the networks, and swd."""
    return (*SHORT, *(name for entry in NETWORKS.values() for name in (entry.frechet, entry.kernel)), SLICED)


def describe_set_level(index_path: Path | None = None) -> list[SetLevelDescription]:
    """Every distance of sets that needs no network of the user's. `index_path` is another index of weights."""
    found = [
        _of_network(network, entry, distance, index_path) for network, entry in NETWORKS.items() for distance in (0, 1)
    ]
    meaning = "sliced Wasserstein distance of patches of Laplacian pyramids"
    return [*found, SetLevelDescription(SLICED, "", meaning, 16)]


def ready_set_level(index_path: Path | None = None) -> tuple[str, ...]:
    """Names of the distances that can be computed on this machine."""
    return tuple(one.name for one in describe_set_level(index_path) if one.ready)


def _of_network(network: str, entry: NetworkEntry, distance: int, index_path: Path | None) -> SetLevelDescription:
    name, words = ((entry.frechet, "Fréchet distance"), (entry.kernel, "kernel distance"))[distance]
    index = load_index(index_path)
    looked = [look_at(find_entry(index, weights)) for weights in entry.weights]
    # As when they are used, the first file that is there is the one that counts, though it be wrong.
    first = next((status for status in looked if status.path is not None), looked[0])
    meaning = f"{words} of {network} features"
    if network != _INCEPTION:
        meaning += f", a stand-in that is not {('FID', 'KID')[distance]}"
    short = next((brief for brief, full in SHORT.items() if full == name), "")
    state = first.entry.name if first.state == "present" else None
    return SetLevelDescription(
        name, short, meaning, entry.least_side, entry.weights, state, _missing_package(entry.package),
        f"{first.entry.name}: {first.message}" if first.message else "",
    )  # fmt: skip


def _missing_package(package: str) -> str:
    """The distribution, if it is needed and not installed."""
    try:
        if package:
            version(package)
    except PackageNotFoundError:
        return package
    return ""

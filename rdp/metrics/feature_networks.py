"""Networks whose features set-level metrics compare: a registry, and the user's own modules.

A plan needs neither torch nor the content of weights where the network is one of the registry; it says how many numbers
a patch gives and what they depend on. `NetworkPlan.create` makes the network.

inception   the network of 2015 that FID and KID are defined on, 2048 features, as `torch-fidelity` builds and feeds it
squeeze     SqueezeNet 1.1, 512 features: a stand-in where there is no Inception; its distances are `fd_squeeze` and
            `kd_squeeze`, which no number called FID or KID may be compared with
anything    a `torch.nn.Module` of the user, as an object or as "package.module:attribute": see
            `rdp.metrics.own_network`
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from rdp.errors import MetricError, SpecError, suggest
from rdp.metrics.base import fingerprint_of
from rdp.weights import WeightsFile, resolve_first

if TYPE_CHECKING:
    from torch import nn

    from rdp.metrics.features import FeatureNetwork


@dataclass(frozen=True)
class NetworkPlan:
    """Everything about a network except its code.

    `name` is that of tables; `frechet` and `kernel` are the names of the Fréchet and kernel distances of its features.
    `dimensions` is the number of features of a patch, float32; `least_side` the side in pixels of the smallest patch.
    `settings` are a part of the identity, `notes` (versions of libraries) are recorded and are not. `module` is the
    user's own, a copy made at planning.
    """

    name: str
    target: str
    dimensions: int
    version: int = 1
    least_side: int = 1
    settings: Mapping[str, Any] = field(default_factory=dict)
    weights: tuple[WeightsFile, ...] = ()
    notes: Mapping[str, str] = field(default_factory=dict)
    frechet: str = ""
    kernel: str = ""
    module: nn.Module | None = field(default=None, repr=False, compare=False)

    @property
    def identity(self) -> dict[str, Any]:
        """The document whose hash is the fingerprint: a JSON object."""
        return {
            "name": self.name,
            "version": self.version,
            "dimensions": self.dimensions,
            "dtype": "float32",
            "settings": dict(self.settings),
            "weights_sha256": [file.sha256 for file in self.weights],
        }

    @property
    def fingerprint(self) -> str:
        """First 12 hex digits of the SHA-256 of the identity as canonical JSON."""
        return fingerprint_of(self.identity)

    def check_side(self, side: int) -> None:
        """Raise `MetricError` if patches of `side` pixels are too small for the network."""
        if side < self.least_side:
            raise MetricError(
                f"the network {self.name!r} needs patches of at least {self.least_side} pixels a side; "
                f"these have {side}. Take larger patches, or another network"
            )

    def create(self, device: str = "cpu") -> FeatureNetwork:
        """The network on that device ("cpu", "cuda", "cuda:1").

        Raises `WeightsError` if the weights have changed since planning or do not fit, `DependencyError` for a library
        that is not installed, and `MetricError` for a device that is not there.
        """
        module, _, name = self.target.partition(":")
        network = cast("type[FeatureNetwork]", getattr(importlib.import_module(module), name))
        return network(self, device)


@dataclass(frozen=True)
class NetworkEntry:
    """A line of the registry. `weights` are names of the index, any one of which will do, the best first; `package` is
    the distribution that builds the network, and `extra` the extra of rdp that brings it."""

    target: str
    dimensions: int
    frechet: str
    kernel: str
    settings: Mapping[str, Any]
    weights: tuple[str, ...]
    version: int = 1
    least_side: int = 1
    package: str = ""
    extra: str = ""


NETWORKS: dict[str, NetworkEntry] = {}


def register_network(name: str, entry: NetworkEntry) -> None:
    """Add a network under a new name. Raises `SpecError` for one that is taken, or that looks like an attribute."""
    if not name.isidentifier():
        raise SpecError(f"{name!r} cannot name a feature network: use letters, digits and underscores")
    if name in NETWORKS:
        raise SpecError(f"feature network {name!r} is defined twice")
    NETWORKS[name] = entry


def network_names() -> tuple[str, ...]:
    """The names of the registered networks."""
    return tuple(NETWORKS)


def plan_network(
    network: str | nn.Module | NetworkPlan, *, name: str | None = None, side: int = 256, index_path: Path | None = None
) -> NetworkPlan:
    """The plan of a network: one of the registry, the user's module, or "package.module:attribute" that names one.

    Args:
        network: what to plan; a plan is returned as it is.
        name: what tables call the user's module; by default its class in lower case. Not for the registry's.
        side: pixels of the patches that the user's module will get; it is tried with one to learn its dimensions.
        index_path: another index of weights than the project's own.

    Raises:
        SpecError: an unknown network, or an attribute that is none.
        WeightsError: weights that are missing or of the wrong hash.
        DependencyError: a library that the network needs is not installed.
        MetricError: a module that does not do what `rdp.metrics.own_network` asks, or patches too small.
    """
    if isinstance(network, NetworkPlan):
        plan = network
    elif isinstance(network, str) and ":" not in network:
        if name is not None:
            raise SpecError(f"the network {network!r} has its name: leave out name={name!r}")
        plan = _registered(network, index_path)
    else:
        from rdp.metrics.own_network import load_module, plan_module

        module = load_module(network) if isinstance(network, str) else network
        plan = plan_module(module, name, side)
    plan.check_side(side)
    return plan


def _registered(name: str, index_path: Path | None) -> NetworkPlan:
    if name not in NETWORKS:
        known = network_names()
        raise SpecError(
            f"unknown feature network {name!r}.{suggest(name, known)} The networks are: {', '.join(known)}, and a "
            "torch.nn.Module of yours as package.module:attribute"
        )
    entry = NETWORKS[name]
    notes = _library(name, entry)
    weights = resolve_first(entry.weights, needed_by=f"the feature network {name!r}", index_path=index_path)
    return NetworkPlan(
        name, entry.target, entry.dimensions, entry.version, entry.least_side, entry.settings, (weights,), notes,
        entry.frechet, entry.kernel,
    )  # fmt: skip


def _library(name: str, entry: NetworkEntry) -> dict[str, str]:
    """The version of the library that builds the network. Raises `DependencyError` if it is not installed."""
    from importlib.metadata import PackageNotFoundError, version

    from rdp.errors import DependencyError

    if not entry.package:
        return {}
    try:
        return {entry.package: version(entry.package)}
    except PackageNotFoundError as error:
        raise DependencyError(
            f"the feature network {name!r} is built by {entry.package}, which is not installed: "
            f"pip install 'rdp-toolkit[{entry.extra}]'"
        ) from error


register_network(
    "inception",
    NetworkEntry(
        "rdp.metrics.inception:Inception",
        dimensions=2048,
        frechet="fid_inception",
        kernel="kid_inception",
        settings={
            "network": "Inception of 2015-12-05 as converted by torch-fidelity",
            "features": "2048: global mean of Mixed_7c",
            "input": "uint8, bilinear as in TensorFlow 1 to 299x299, (x - 128) / 128",
        },
        weights=("inception-2015-12-05",),
        package="torch-fidelity",
        extra="inception",
    ),
)
register_network(
    "squeeze",
    NetworkEntry(
        "rdp.metrics.squeeze_features:SqueezeFeatures",
        dimensions=512,
        frechet="fd_squeeze",
        kernel="kd_squeeze",
        settings={
            "network": "SqueezeNet 1.1 of torchvision",
            "features": "spatial mean of features.12, after its ReLU",
            "input": "0..1, less the mean (0.485, 0.456, 0.406), by the deviation (0.229, 0.224, 0.225); no resize",
        },
        weights=("squeezenet1_1", "squeezenet1_1_features_fp16"),
        # The smallest at which each of its three poolings still has a window.
        least_side=17,
    ),
)

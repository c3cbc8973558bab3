"""Any metric of the package `pyiqa` that scores one picture, as `pyiqa:NAME`; its column is `pyiqa_NAME`.

pyiqa (https://github.com/chaofengc/IQA-PyTorch) is licensed for non-commercial use, so it is no dependency and nothing
uses it unless it is asked for. **It fetches weights by itself** when a metric is first made, unpickles them, and checks
no hash; rdp makes the metric once when a run is planned, so that this happens before anything is encoded and by one
process only. Whether a metric compares with the reference, and which way is better, is what pyiqa says.

The fingerprint has pyiqa's version and the SHA-256 of all tensors that the metric holds once it is made (parameters,
buffers, and tensors that its modules keep as plain attributes). Numbers that a metric keeps in another form are known
by the version alone. A worker whose tensors are others refuses to score.

Pictures go in one at a time, as float32 0..1. Some metrics of pyiqa draw random crops: the generators of torch, NumPy
and Python are seeded for each score, and afterwards are as they were.
"""

from __future__ import annotations

import hashlib
import random
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, Any

from rdp.columns import Column
from rdp.errors import DependencyError, MetricError, SpecError, WeightsError, suggest
from rdp.metrics.base import Metric, MetricPlan

if TYPE_CHECKING:
    import torch

    from rdp.metrics.base import Image

PREFIX = "pyiqa"
SEED = 0
_REFUSED = {
    "fid": "compares sets of pictures, not pictures: see the set-level metrics",
    "inception_score": "judges sets of pictures, not pictures: see the set-level metrics",
    "clipscore": "needs a caption beside the picture",
}
_FAILURES = (ArithmeticError, AssertionError, AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError)
"""What a package of many authors raises for a picture that it cannot score, or weights that it cannot fetch."""


class PyiqaMetric(Metric):
    """A metric of pyiqa, with or without reference, as the plan's settings say."""

    def __init__(self, plan: MetricPlan, device: str = "cpu") -> None:
        super().__init__(plan, device)
        from rdp.metrics.tensors import torch_device

        self._device = torch_device(device)
        self._network = _create(_package(plan.name), plan.settings["metric"], self._device)
        if tensors_sha256(self._network) != plan.settings["tensors_sha256"]:
            raise WeightsError(
                f"metric {plan.name!r}: the tensors that pyiqa loads here are not those it loaded when the run was "
                "planned. Clear pyiqa's cache of weights, or start again"
            )

    def _features(self, reference: Image) -> torch.Tensor | None:
        return self._tensor(reference) if self.settings["reference"] else None

    def _score_chunk(self, features: torch.Tensor | None, reconstructions: Sequence[Image]) -> dict[str, list[float]]:
        references = () if features is None else (features,)
        return {self.columns[0]: [self._score(self._tensor(image), *references) for image in reconstructions]}

    def _tensor(self, image: Image) -> torch.Tensor:
        from rdp.metrics.tensors import stack

        return stack([image], self._device).float().div_(255)

    def _score(self, *pictures: torch.Tensor) -> float:
        from rdp.metrics.tensors import scoring

        try:
            with scoring(self._device), _seeded(self._device), redirect_stdout(sys.stderr):
                found = self._network(*pictures)
                values = [float(value) for value in found.reshape(-1)]
        except _FAILURES as error:
            raise MetricError(f"metric {self.name!r}: pyiqa failed with {type(error).__name__}: {error}") from error
        if len(values) != 1:
            raise MetricError(f"metric {self.name!r}: pyiqa gave {len(values)} numbers for one picture")
        return values[0]


def plan_pyiqa(name: str) -> MetricPlan:
    """The plan of pyiqa's metric of that name. Loads torch, makes the metric once, and so may fetch its weights.

    Raises `DependencyError` if pyiqa is not installed, `SpecError` for a name that it does not have or that scores no
    single picture, and `WeightsError` if the metric cannot be made.
    """
    column = f"{PREFIX}_{name}"
    package = _package(f"{PREFIX}:{name}")
    known = tuple(package.list_models())
    if name not in known:
        raise SpecError(f"pyiqa {package.__version__} has no metric {name!r}.{suggest(name, known)}")
    reason = next((text for word, text in _REFUSED.items() if word in name), "")
    if reason:
        raise SpecError(f"{PREFIX}:{name} {reason}")
    network = _create(package, name, "cpu")
    lower, mode = bool(network.lower_better), str(network.metric_mode)
    if mode not in ("FR", "NR"):
        raise SpecError(f"{PREFIX}:{name} is of the kind {mode!r}; those with (FR) and without (NR) a reference work")
    settings = {
        "pyiqa": str(package.__version__),
        "metric": name,
        "reference": mode == "FR",
        "lower_better": lower,
        "seed": SEED,
        "tensors_sha256": tensors_sha256(network),
    }
    meaning = f"{name} of pyiqa, {'against the original' if mode == 'FR' else 'no reference'}"
    described = Column(column, "real", "", "lower" if lower else "higher", meaning, f"{name} (pyiqa)")
    return MetricPlan(
        column, "rdp.metrics.from_pyiqa:PyiqaMetric", (column,), 1, "float32", settings, described=(described,)
    )


def tensors_sha256(network: torch.nn.Module) -> str:
    """SHA-256 of all tensors of a network, 64 hex digits: name, dtype, shape and bytes of each, by name."""
    import torch

    tensors = dict(network.state_dict())
    for place, module in network.named_modules():
        own = {key: value for key, value in vars(module).items() if isinstance(value, torch.Tensor)}
        tensors.update({f"{place}:{key}": value for key, value in own.items()})
    digest = hashlib.sha256()
    for key in sorted(tensors):
        value = tensors[key].detach().cpu().contiguous()
        digest.update(f"{key} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _package(wanted: str) -> Any:
    """The package. Raises `DependencyError` if it, or something that it needs, is not installed."""
    try:
        import pyiqa
    except ImportError as error:
        missing = "" if error.name == PREFIX else f" ({error})"
        raise DependencyError(
            f"metric {wanted!r} needs pyiqa, which cannot be imported{missing}: pip install pyiqa, whose licence "
            "is for non-commercial use"
        ) from error
    return pyiqa


def _create(package: Any, name: str, device: torch.device | str) -> Any:
    """The metric as pyiqa makes it, what it prints sent to stderr, and weights that it draws drawn alike each time."""
    import torch

    place = torch.device(device)
    try:
        with _seeded(place), redirect_stdout(sys.stderr):
            return package.create_metric(name, device=place)
    except _FAILURES as error:
        raise WeightsError(
            f"{PREFIX}:{name} cannot be made: {type(error).__name__}: {error}. pyiqa fetches its weights by itself, "
            "on a machine with internet"
        ) from error


@contextmanager
def _seeded(device: torch.device) -> Iterator[None]:
    """The generators of torch, NumPy and Python seeded, and as before afterwards."""
    import numpy as np
    import torch

    before, numbers = random.getstate(), np.random.get_state()  # noqa: NPY002 - it is pyiqa that draws from it
    devices = [device.index or 0] if device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices):
            torch.manual_seed(SEED)
            np.random.seed(SEED)  # noqa: NPY002
            random.seed(SEED)
            yield
    finally:
        random.setstate(before)
        np.random.set_state(numbers)  # noqa: NPY002

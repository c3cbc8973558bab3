"""Training of compression networks, on Lightning; the classes here are what a configuration names.

Names load when they are first used: a process that only cuts crops does not import Lightning.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rdp.training.adversarial import HiFiC as HiFiC
    from rdp.training.data import ImageFolders as ImageFolders
    from rdp.training.decoder_task import DecoderTuning as DecoderTuning
    from rdp.training.losses import Distortion as Distortion
    from rdp.training.losses import LogSquaredError as LogSquaredError
    from rdp.training.losses import MeanSquaredError as MeanSquaredError
    from rdp.training.losses import WeightedSum as WeightedSum
    from rdp.training.optimizers import Muon as Muon
    from rdp.training.perceptual import LPIPS as LPIPS
    from rdp.training.perceptual import MultiScaleSSIM as MultiScaleSSIM
    from rdp.training.rate_control import RateControl as RateControl
    from rdp.training.schedules import Trapezoid as Trapezoid
    from rdp.training.tasks import CompressionTask as CompressionTask
    from rdp.training.tasks import RateDistortion as RateDistortion
    from rdp.training.tasks import TargetRate as TargetRate

_WHERE = {
    "CompressionTask": "rdp.training.tasks",
    "DecoderTuning": "rdp.training.decoder_task",
    "Distortion": "rdp.training.losses",
    "HiFiC": "rdp.training.adversarial",
    "ImageFolders": "rdp.training.data",
    "LPIPS": "rdp.training.perceptual",
    "LogSquaredError": "rdp.training.losses",
    "MeanSquaredError": "rdp.training.losses",
    "MultiScaleSSIM": "rdp.training.perceptual",
    "Muon": "rdp.training.optimizers",
    "RateControl": "rdp.training.rate_control",
    "RateDistortion": "rdp.training.tasks",
    "TargetRate": "rdp.training.tasks",
    "Trapezoid": "rdp.training.schedules",
    "WeightedSum": "rdp.training.losses",
}

__all__ = sorted(_WHERE)  # noqa: PLE0605 - a list of the strings that are the names of _WHERE


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'rdp.training' has no attribute {name!r}")
    value = getattr(importlib.import_module(_WHERE[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_WHERE})

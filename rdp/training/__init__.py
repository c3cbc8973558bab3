"""Training of compression networks, on Lightning; the classes here are what a configuration names."""

from rdp.training.adversarial import HiFiC
from rdp.training.data import ImageFolders
from rdp.training.losses import Distortion, MeanSquaredError, WeightedSum
from rdp.training.optimizers import Muon
from rdp.training.perceptual import LPIPS, MultiScaleSSIM
from rdp.training.rate_control import RateControl
from rdp.training.schedules import Trapezoid
from rdp.training.tasks import CompressionTask, RateDistortion, TargetRate

__all__ = [
    "LPIPS",
    "CompressionTask",
    "Distortion",
    "HiFiC",
    "ImageFolders",
    "MeanSquaredError",
    "MultiScaleSSIM",
    "Muon",
    "RateControl",
    "RateDistortion",
    "TargetRate",
    "Trapezoid",
    "WeightedSum",
]

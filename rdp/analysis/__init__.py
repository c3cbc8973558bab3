"""Analysis of numbers, whatever they came from: NumPy arrays in, frozen results out.

from rdp.analysis import bd_rate
bd_rate(anchor_bpp, anchor_psnr, test_bpp, test_psnr).value  # percent of rate, negative where it is saved
"""

from rdp.analysis.bjontegaard import Bjontegaard, BjontegaardError, bd_metric, bd_rate
from rdp.analysis.bootstrap import BootstrapInterval, bootstrap_difference, bootstrap_images
from rdp.analysis.knee import (
    ChordKnee,
    EndPointSensitivity,
    EndPointTrial,
    KneeError,
    KneeShares,
    chord_knee,
    end_point_sensitivity,
    knee_shares,
    kneedle,
)
from rdp.analysis.pareto import ParetoError, ParetoSubset, pareto_subset
from rdp.analysis.rate_spread import NearestModels, RateSummary, nearest_models, rate_summary

__all__ = [
    "Bjontegaard",
    "BjontegaardError",
    "BootstrapInterval",
    "ChordKnee",
    "EndPointSensitivity",
    "EndPointTrial",
    "KneeError",
    "KneeShares",
    "NearestModels",
    "ParetoError",
    "ParetoSubset",
    "RateSummary",
    "bd_metric",
    "bd_rate",
    "bootstrap_difference",
    "bootstrap_images",
    "chord_knee",
    "end_point_sensitivity",
    "knee_shares",
    "kneedle",
    "nearest_models",
    "pareto_subset",
    "rate_summary",
]

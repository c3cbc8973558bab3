"""Evaluate: every image with every operating point, scored, as rows of a run folder."""

from rdp.evaluation.options import KEEP
from rdp.evaluation.verb import evaluate

__all__ = ["KEEP", "evaluate"]

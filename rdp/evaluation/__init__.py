"""Evaluate: every image with every operating point, scored, as rows of a run folder."""

from rdp.evaluation.verb import KEEP, evaluate

__all__ = ["KEEP", "evaluate"]

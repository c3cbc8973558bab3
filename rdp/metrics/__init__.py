"""Per-image metrics: a registry, and one file a metric."""

from __future__ import annotations

from rdp.metrics.base import Metric, MetricPlan, Prepared
from rdp.metrics.registry import (
    METRICS,
    MetricDescription,
    create_metrics,
    describe_metrics,
    metric_names,
    plan_metrics,
    pyiqa_version,
)

__all__ = [
    "METRICS",
    "Metric",
    "MetricDescription",
    "MetricPlan",
    "Prepared",
    "create_metrics",
    "describe_metrics",
    "metric_names",
    "plan_metrics",
    "pyiqa_version",
]

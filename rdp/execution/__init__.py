"""Execution: where work runs. Local worker processes, and how progress is told."""

from rdp.execution.pool import Outcome, WorkerPool
from rdp.execution.progress import Progress, Silent

__all__ = ["Outcome", "Progress", "Silent", "WorkerPool"]

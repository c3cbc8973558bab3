"""From a plan to tasks of a good size: large enough to share the work on an image, small enough to lose little."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

from rdp.evaluation.plan import ImagePlan
from rdp.evaluation.tasks import CellWork, ImageTask, TaskResult

_TASK_S = 8.0
_FIRST_CELLS = 8


class TaskStream:
    """Hands out tasks while the plan lasts; cells whose worker died come back, each in a task of its own.

    A task is cut to take about eight seconds, by the time that cells have taken so far, and so that all workers have
    something to do when there are few images.
    """

    def __init__(self, plans: Sequence[ImagePlan], jobs: int) -> None:
        self._plans = deque(plans)
        self._cells: deque[CellWork] = deque()
        self._again: deque[ImageTask] = deque()
        most = max((len(plan.cells) for plan in plans), default=1)
        self._share = max(1, math.ceil(most * len(plans) / (4 * jobs)))
        self._done = 0
        self._spent_s = 0.0

    def draw(self) -> ImageTask | None:
        """The next task; None when there is none now."""
        if self._again:
            return self._again.popleft()
        if not self._cells:
            if not self._plans:
                return None
            self._cells = deque(self._plans[0].cells)
        plan = self._plans[0]
        count = min(self._size(), len(self._cells))
        cells = [self._cells.popleft() for _ in range(count)]
        while self._cells and self._cells[0].encoder_id == cells[-1].encoder_id:
            cells.append(self._cells.popleft())
        if not self._cells:
            self._plans.popleft()
        return _task(plan, cells)

    def _size(self) -> int:
        if not self._done:
            return min(_FIRST_CELLS, self._share)
        return max(1, min(self._share, int(_TASK_S * self._done / max(self._spent_s, 1e-9))))

    def learn(self, result: TaskResult) -> None:
        """Take note of how long a task took."""
        self._done += len(result.cells)
        self._spent_s += result.seconds.total - result.seconds.start

    def split(self, task: ImageTask) -> bool:
        """Put the cells of a task back, one by one. False if it has only one, so that this cell is to blame."""
        if len(task.cells) == 1:
            return False
        self._again.extend(
            ImageTask(task.image, task.width, task.height, task.pixels_sha256, (cell,)) for cell in task.cells
        )
        return True


def _task(plan: ImagePlan, cells: Sequence[CellWork]) -> ImageTask:
    item = plan.item
    return ImageTask(item.image, item.width, item.height, item.pixels_sha256, tuple(cells))

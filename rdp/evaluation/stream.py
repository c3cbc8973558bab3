"""From a plan to tasks, and what comes back of them: cells left over, and cells whose worker died."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import replace

from rdp.evaluation.plan import ImagePlan
from rdp.evaluation.tasks import ImageTask

_TASKS_PER_WORKER = 4


class TaskStream:
    """Hands out tasks while the plan lasts.

    A task is one image, or a part of its cells when there are so few images that workers would go idle. A worker
    returns after a few seconds with the cells it has done (`rdp.evaluation.worker.TASK_S`); the others are put back.
    """

    def __init__(self, plans: Sequence[ImagePlan], jobs: int) -> None:
        most = max((len(plan.cells) for plan in plans), default=1)
        self._share = max(1, math.ceil(most * len(plans) / (_TASKS_PER_WORKER * jobs)))
        self._plans = deque(plans)
        self._tasks: deque[ImageTask] = deque()

    def draw(self) -> ImageTask | None:
        """The next task; None when there is none now."""
        if not self._tasks and self._plans:
            self._tasks.extend(_cut(self._plans.popleft(), self._share))
        return self._tasks.popleft() if self._tasks else None

    def put_back(self, task: ImageTask, done: int) -> None:
        """Take back the cells of a task after the first `done`, to be handed out next: their image is at hand."""
        if done < len(task.cells):
            self._tasks.appendleft(replace(task, cells=task.cells[done:]))

    def split(self, task: ImageTask) -> bool:
        """Put the cells of a task back, one by one. False if it has only one, so that this cell is to blame."""
        if len(task.cells) == 1:
            return False
        self._tasks.extend(replace(task, cells=(cell,)) for cell in task.cells)
        return True


def _cut(plan: ImagePlan, share: int) -> list[ImageTask]:
    """The cells of an image in tasks of about `share`, cells of one encoder together."""
    item = plan.item
    parts: list[list[int]] = [[]]
    for place, cell in enumerate(plan.cells):
        last = parts[-1]
        if len(last) >= share and plan.cells[last[-1]].encoder_id != cell.encoder_id:
            parts.append([])
        parts[-1].append(place)
    return [
        ImageTask(item.image, item.width, item.height, item.pixels_sha256, tuple(plan.cells[place] for place in part))
        for part in parts
    ]

"""From a plan to tasks, and what comes back of them: cells left over, and cells whose worker died."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from typing import Generic, Protocol, TypeVar

from rdp.evaluation.plan import ImagePlan
from rdp.evaluation.tasks import BatchResult, BatchTask, ImageTask, TaskResult

_TASKS_PER_WORKER = 4
_MOST_IMAGES = 256
"""Images of a batch task; a worker returns after some seconds with what it has done, so this bounds little else."""

_BLOCK = 64
"""Images whose sides are equal when counted in blocks of so many pixels stand together: their padded sizes are equal
for every network whose stride divides it."""

Task = TypeVar("Task")
Result = TypeVar("Result", contravariant=True)


class Stream(Protocol, Generic[Task, Result]):
    """Hands out tasks, and takes back what was not done of them."""

    def draw(self) -> Task | None:
        """The next task; None when there is none now."""

    def put_back(self, task: Task, result: Result) -> None:
        """Take back the cells of a task that its result lacks, to be handed out next."""

    def suspect(self, task: Task) -> ImageTask | None:
        """After a worker's death: the task if it is one cell, which is then to blame; else None, parts put back."""


class TaskStream:
    """Tasks for single-threaded workers, while the plan lasts.

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

    def put_back(self, task: ImageTask, result: TaskResult) -> None:
        """Take back the cells that were not done, to be handed out next: their image is at hand."""
        done = len(result.cells)
        if done < len(task.cells):
            self._tasks.appendleft(replace(task, cells=task.cells[done:]))

    def suspect(self, task: ImageTask) -> ImageTask | None:
        """The task if it is one cell; otherwise its cells are put back one by one."""
        if len(task.cells) == 1:
            return task
        self._tasks.extend(replace(task, cells=(cell,)) for cell in task.cells)
        return None


class BatchStream:
    """Tasks for workers that code in batches: many images of about one size, group of points after group of points.

    The order of the tasks does not depend on what comes back, so that equal plans give equal batches. A group begins
    when nothing of the one before is under way: what a worker leaves undone of it comes back first, and a worker that
    had gone on would have to load the weights of both in turn.
    """

    def __init__(self, plans: Sequence[ImagePlan], workers: int, order: Sequence[str]) -> None:
        """`order` names all points in the order of the cells of a plan."""
        self._tasks: deque[BatchTask] = deque()
        self._under_way: Counter[int] = Counter()
        for _, members in groupby(plans, key=lambda plan: plan.group):
            near = sorted(members, key=_blocks)
            names = {cell.point.name for plan in near for cell in plan.cells}
            own = tuple(name for name in order if name in names)
            share = min(_MOST_IMAGES, math.ceil(len(near) / workers))
            for first in range(0, len(near), share):
                self._tasks.append(BatchTask(tuple(map(_whole, near[first : first + share])), own))

    def draw(self) -> BatchTask | None:
        """The next task; None when there is none now."""
        if not self._tasks:
            return None
        group = self._tasks[0].images[0].group
        if any(count for other, count in self._under_way.items() if other != group):
            return None
        self._under_way[group] += 1
        return self._tasks.popleft()

    def put_back(self, task: BatchTask, result: BatchResult) -> None:
        """Take back the cells that were not done, to be handed out next."""
        self._under_way[task.images[0].group] -= 1
        left = tuple(
            replace(image, cells=image.cells[done:])
            for image, done in zip(task.images, result.done, strict=True)
            if done < len(image.cells)
        )
        if left:
            self._tasks.appendleft(replace(task, images=left))

    def suspect(self, task: BatchTask) -> ImageTask | None:
        """The task of the one cell if it has no other; otherwise its halves are put back, down to single cells.

        Halves and not single images: most images of a task are innocent, and alone they would be coded in batches of
        one.
        """
        self._under_way[task.images[0].group] -= 1
        if len(task.images) > 1:
            half = len(task.images) // 2
            parts = (task.images[:half], task.images[half:])
            self._tasks.extend(replace(task, images=part) for part in parts)
            return None
        (image,) = task.images
        if len(image.cells) == 1:
            return image
        self._tasks.extend(replace(task, images=(replace(image, cells=(cell,)),)) for cell in image.cells)
        return None


def _blocks(plan: ImagePlan) -> tuple[int, int]:
    return -(-plan.item.height // _BLOCK), -(-plan.item.width // _BLOCK)


def _whole(plan: ImagePlan) -> ImageTask:
    item = plan.item
    return ImageTask(item.image, item.width, item.height, item.pixels_sha256, plan.cells, plan.group)


def _cut(plan: ImagePlan, share: int) -> list[ImageTask]:
    """The cells of an image in tasks of about `share`, cells of one encoder together."""
    parts: list[list[int]] = [[]]
    for place, cell in enumerate(plan.cells):
        last = parts[-1]
        if len(last) >= share and plan.cells[last[-1]].encoder_id != cell.encoder_id:
            parts.append([])
        parts[-1].append(place)
    whole = _whole(plan)
    return [replace(whole, cells=tuple(plan.cells[place] for place in part)) for part in parts]

"""What several tests of trainings need."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest
from lightning import Callback


class Signal(Callback):
    """What Ctrl-C does, before the step of a number."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_start(self, trainer: Any, *_: Any) -> None:
        if trainer.global_step == self.step:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture(scope="session")
def control_c() -> type[Signal]:
    """Makes a callback of the number of the step before which Ctrl-C is pressed."""
    return Signal

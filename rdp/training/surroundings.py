"""What is around a training: silence of the libraries, their errors as ours, and Ctrl-C as an exception."""

from __future__ import annotations

import contextlib
import errno
import logging
import signal
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.utilities import rank_zero_only

from rdp.errors import DependencyError, RdpError
from rdp.execution.progress import Progress
from rdp.training.arguments import explain, own_error
from rdp.training.folder import TrainingFolder
from rdp.training.steps import TrainingInterrupted

_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EROFS, errno.EPERM, errno.EIO}


def is_first_process() -> bool:
    """Whether this process is the one that writes and tells, of a training on several devices."""
    return int(getattr(rank_zero_only, "rank", 0) or 0) == 0


@contextlib.contextmanager
def quiet(progress: Progress) -> Iterator[None]:
    """Without what Lightning advertises and says of itself; warnings of rdp's own modules become notes."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [one.level for one in loggers]
    for one in loggers:
        one.setLevel(logging.ERROR)
    own = str(Path(__file__).resolve().parent.parent)

    def show(message: Warning | str, category: type[Warning], filename: str, *_: Any) -> None:
        if str(Path(filename).resolve()).startswith(own):
            progress.note(f"note: {message}")

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            warnings.showwarning = show  # type: ignore[assignment]
            yield
    finally:
        for one, level in zip(loggers, levels, strict=True):
            one.setLevel(level)


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Errors of the libraries that a user can mend, as `RdpError`."""
    try:
        yield
    except (MisconfigurationException, ValueError) as error:
        raise own_error(error) or RdpError(explain(str(error))) from error
    except torch.OutOfMemoryError as error:
        raise RdpError("the device's memory is not enough: smaller --data.batch_size or --data.crop") from error
    except OSError as error:
        if error.errno not in _DISK:
            raise
        where = error.filename or "the folder of the training"
        raise RdpError(f"cannot write {where}: {error.strerror}. Make room or give another --out") from error


@contextlib.contextmanager
def interruptible(folder: TrainingFolder) -> Iterator[None]:
    """Lightning ends the process at a Ctrl-C, and leaves later ones without effect; here it is an exception.

    Signals do afterwards what they did before.
    """
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except SystemExit as error:
        last = folder.checkpoint
        where = (
            f"`rdp train fit --out {folder.root} --resume` goes on from {last}" if last.is_file() else "nothing kept"
        )
        raise TrainingInterrupted(f"interrupted at once; {where}") from error
    finally:
        with contextlib.suppress(ValueError):  # Only the main thread has handlers.
            for number, handler in handlers.items():
                signal.signal(number, handler)


def tensorboard(folder: TrainingFolder) -> Any:
    """A logger for TensorBoard. Raises `DependencyError` where that is not installed."""
    from lightning.pytorch.loggers import TensorBoardLogger

    try:
        return TensorBoardLogger(folder.root, name="logs", version="", default_hp_metric=False)
    except ModuleNotFoundError as error:
        raise DependencyError("--tensorboard needs TensorBoard: pip install 'rdp-toolkit[tensorboard]'") from error

"""Let Ctrl-C through while native code solves."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


def run_interruptibly(call: Callable[[], Result]) -> Result:
    """`call()` in a thread of its own, so that the main thread can be interrupted meanwhile.

    Python delivers Ctrl-C only between instructions of the main thread, and a solver without a time limit may not
    come back for hours. An interrupted solve is left behind in a daemon thread, which the end of the process ends.
    """
    if threading.current_thread() is not threading.main_thread():
        return call()
    results: list[Result] = []
    errors: list[BaseException] = []

    def target() -> None:
        try:
            results.append(call())
        except BaseException as error:  # noqa: BLE001 - raised again below, in the thread that waits
            errors.append(error)

    thread = threading.Thread(target=target, name="rdp solver", daemon=True)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]

"""A spawn context whose workers do not run the user's main script again.

Tasks are functions of this package, so workers have no need of `__main__`; without this, a script that calls
`rdp.evaluate` outside an `if __name__ == "__main__"` block would start itself over in every worker.
"""

from __future__ import annotations

import sys
import threading
import types
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any

_LOCK = threading.Lock()


class MainlessProcess(SpawnProcess):
    """A spawned process that finds an empty main module."""

    @staticmethod
    def _Popen(process_obj: Any) -> Any:
        # What a spawned process is told of the main module is read from sys.modules while it is launched.
        with _LOCK:
            main = sys.modules["__main__"]
            sys.modules["__main__"] = types.ModuleType("__main__")
            try:
                return SpawnProcess._Popen(process_obj)
            finally:
                sys.modules["__main__"] = main


class MainlessContext(SpawnContext):
    """The spawn context that launches `MainlessProcess`."""

    Process = MainlessProcess

"""What parts of a training say in the words of a configuration, in those of a command with plain options."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from rdp.errors import RdpError
from rdp.execution.progress import Progress
from rdp.training.folder import TrainingFolder
from rdp.training.steps import TrainingInterrupted
from rdp.training.surroundings import interruptible, quiet, translated


@contextlib.contextmanager
def option_surroundings(command: str, out: Path, state: str, progress: Progress) -> Iterator[None]:
    """Silence of the libraries, and errors that a user can mend as `RdpError` that name the command's options.

    Ctrl-C is `TrainingInterrupted`, which says how `command` goes on in `out`, if the file `state` is there.
    """
    try:
        with quiet(_Worded(progress)), translated(), interruptible(TrainingFolder(out)):
            yield
    except (KeyboardInterrupt, TrainingInterrupted) as error:
        goes_on = f"`{command} --out {out} --resume` with the options that it began with goes on"
        kept = goes_on if (out / state).is_file() else "nothing kept"
        raise TrainingInterrupted(f"interrupted; {kept}") from error
    except RdpError as error:
        error.args = (own_options(str(error)), *error.args[1:])
        raise


def own_options(message: str) -> str:
    """`--data.batch_size` as `--batch-size`, and so on; what these commands have no option for is left out."""
    message = message.replace(", or set --data.allow_overlap=true", "")
    return re.sub(r"--(?:data|model)\.(\w+)", lambda found: "--" + found[1].replace("_", "-"), message)


class _Worded:
    """A progress whose notes name the command's options."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self.start, self.advance, self.finish = progress.start, progress.advance, progress.finish

    def note(self, message: str) -> None:
        self._progress.note(own_options(message).removeprefix("note: "))  # Who shows notes says what they are.

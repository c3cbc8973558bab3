"""How long `import rdp` and `rdp --help` take, beside an empty Python.

    .venv/bin/python benchmarks/startup.py

Targets: import under 0.3 s, help under 0.5 s.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "python -c 'import rdp'": ["-c", "import rdp"],
    "rdp --help": ["-m", "rdp", "--help"],
    "rdp solve --help": ["-m", "rdp", "solve", "--help"],
    "python -c 'import torch'": ["-c", "import torch"],
}
REPEATS = 7


def seconds(arguments: list[str]) -> float:
    begin = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
    return time.perf_counter() - begin


def main() -> None:
    base = 0.0
    print(f"{'command':<28} {'median s':>9} {'ratio to an empty Python':>25}")
    for name, arguments in COMMANDS.items():
        repeats = 1 if "torch" in name else REPEATS
        seconds(arguments)  # fills the file cache
        median = statistics.median(seconds(arguments) for _ in range(repeats))
        base = base or median
        print(f"{name:<28} {median:9.3f} {median / base:25.1f}")


if __name__ == "__main__":
    main()

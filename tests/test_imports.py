"""The map of the house against the code: imports point one way only, and what loads late stays late."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "rdp"

ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "columns": {"errors"},
    "storage": set(),
    "images": {"errors"},
    "execution": {"errors"},
    "weights": {"errors", "columns", "images", "execution"},
    "bitstream": {"errors", "columns", "images", "execution", "weights"},
    "models": {"errors", "columns", "images", "execution", "weights"},
    "tables": {"errors", "columns", "images", "execution", "weights"},
    "metrics": {"errors", "columns", "images", "execution", "weights"},
    "codecs": {"errors", "columns", "images", "execution", "weights", "bitstream", "models"},
    "training": {
        "errors",
        "columns",
        "images",
        "execution",
        "weights",
        "bitstream",
        "models",
        "metrics",
        "codecs",
    },
    "evaluation": {"errors", "columns", "images", "execution", "weights", "tables", "metrics", "codecs", "analysis"},
    "analysis": {"errors", "columns", "images", "execution", "weights", "tables"},
    "selection": {"errors", "columns", "images", "execution", "weights", "tables", "analysis"},
    "report": {
        "errors",
        "columns",
        "images",
        "execution",
        "weights",
        "tables",
        "metrics",
        "codecs",
        "evaluation",
        "analysis",
        "selection",
    },
}
for _package in ("tables", "codecs", "metrics", "models", "training"):
    ALLOWED[_package].add("storage")
ALLOWED["cli"] = {*ALLOWED, "cli"}
TOP = {"__init__", "__main__"}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def package_of(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported_packages(path: Path) -> Iterator[tuple[int, str]]:
    """(line, package of rdp) for every import in a file, also those inside functions and for types."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names = [f"{node.module}.{alias.name}" if node.module == "rdp" else node.module for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level:
            raise AssertionError(f"{path}:{node.lineno} imports relatively; write the full name")
        for name in names:
            parts = name.split(".")
            if parts[0] == "rdp" and len(parts) > 1:
                yield node.lineno, parts[1]


def test_every_package_stands_in_the_map() -> None:
    packages = {package_of(path) for path in modules()} - TOP
    assert packages == set(ALLOWED)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path: Path) -> None:
    package = package_of(path)
    if package in TOP:
        return
    for line, target in imported_packages(path):
        allowed = {*ALLOWED[package], package, "__version__"}
        assert target in allowed, f"{path}:{line}: {package} must not import {target}"


def loaded_by(statement: str) -> set[str]:
    """Top-level modules that a fresh interpreter has after a statement."""
    code = f"{statement}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


HEAVY = {
    "torch",
    "lightning",
    "jsonargparse",
    "pandas",
    "pyarrow",
    "numpy",
    "scipy",
    "matplotlib",
    "ortools",
    "pulp",
    "PIL",
    "lpips",
    "piq",
    "skimage",
    "av",
    "constriction",
    "safetensors",
}


def test_importing_rdp_loads_nothing_heavy() -> None:
    assert not loaded_by("import rdp, rdp.errors, rdp.columns, rdp.codecs, rdp.metrics") & HEAVY


def test_the_command_line_starts_without_anything_heavy() -> None:
    assert not loaded_by("import rdp.cli.app") & HEAVY


def test_selecting_never_loads_torch_or_pandas() -> None:
    loaded = loaded_by("import rdp; rdp.solve; import rdp.selection.builder, rdp.selection.solving, rdp.tables")
    assert not loaded & {"torch", "pandas", "lpips"}


def test_listing_registries_loads_no_implementation() -> None:
    loaded = loaded_by(
        "from rdp.codecs import family_names; from rdp.metrics import metric_names; family_names(), metric_names()"
    )
    assert not loaded & HEAVY


def test_cutting_crops_loads_no_lightning() -> None:
    assert not loaded_by("import rdp.training, rdp.training.images") & {"lightning", "jsonargparse", "lpips"}


def test_files_are_rooms_and_not_halls() -> None:
    long = {str(p.relative_to(PACKAGE)): n for p in modules() if (n := len(p.read_text().splitlines())) > 320}
    assert not long

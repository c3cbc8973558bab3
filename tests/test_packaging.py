"""What an installed rdp has: weights and their index, the type marker, and nothing that belongs to the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest


def built(source: Path, folder: Path) -> set[str]:
    """A wheel of the project in `source`, unpacked into `folder / "site"`; the names of its files."""
    words = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet", "-w", str(folder)]
    subprocess.run([*words, str(source)], check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
        return set(archive.namelist())


def run_there(code: str, folder: Path) -> list[str]:
    """What code prints that sees the unpacked wheel and not the checkout; weights lie nowhere but in the wheel."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RDP_")}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder / "site", capture_output=True, text=True, check=False,
        env={**environment, "PYTHONPATH": str(folder / "site"), "RDP_HOME": str(folder / "home")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.slow
def test_a_wheel_carries_the_package_and_the_index_of_weights(root: Path, tmp_path: Path) -> None:
    names = built(root, tmp_path)
    assert {
        "rdp/__init__.py",
        "rdp/py.typed",
        "rdp/pretrained/index.toml",
        "rdp/codecs/descriptions/tfci.toml",
    } <= names
    assert {f"rdp/pretrained/{path.name}" for path in (root / "pretrained").iterdir()} <= names
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/", "studies/"))]
    code = "import rdp, rdp.weights as w; print(rdp.__file__); print(w.pretrained_folder()); print(*w.load_index())"
    where, folder, entries = run_there(code, tmp_path)
    assert Path(where).is_relative_to(tmp_path) and Path(folder) == tmp_path / "site" / "rdp" / "pretrained"
    assert "alexnet" in entries.split()


FINDS = """
import sys
from pathlib import Path
import rdp
from rdp.weights import locate, load_index, resolve
print(rdp.__file__)
print(locate(load_index()["rdp-factorized-1"]))
print(resolve("rdp-factorized-1").path)
encoded = rdp.encode_file(sys.argv[1], sys.argv[2], "factorized:quality=1")
decoded = rdp.decode_file(sys.argv[2], sys.argv[3])
print(encoded.point, decoded.family)
"""


@pytest.mark.slow
def test_weights_that_ship_with_a_wheel_code_and_are_found_by_what_a_file_carries(
    root: Path, photos: Path, tmp_path: Path
) -> None:
    """A network and its entry are put into the `pretrained/` of a copy of the project, and a wheel is made of that."""
    import torch

    from rdp.images import read_image
    from rdp.models.checkpoint import load_model, save_model
    from rdp.models.registry import create_model
    from rdp.weights import sha256_of

    source = tmp_path / "source"
    shutil.copytree(root / "rdp", source / "rdp", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", ".gitignore"):
        shutil.copy(root / name, source / name)
    (source / "pretrained").mkdir()
    torch.manual_seed(0)
    path = source / "pretrained" / "new.safetensors"
    save_model(path, create_model("factorized", channels=8, latent_channels=8), kernel_bits=16)
    name = f"rdp-factorized-1-{sha256_of(path)[:8]}.safetensors"
    path.rename(path.with_name(name))
    entry = f'version = 1\n[rdp-factorized]\nfiles = ["{name}"]\nlicence = "MIT"\ndescription = "A network"\n'
    entry += 'used_by = ["factorized:weights=rdp,quality={}"]\n'
    (source / "pretrained" / "index.toml").write_text(entry, encoding="utf-8")

    assert f"rdp/pretrained/{name}" in built(source, tmp_path)
    arguments = [str(photos / "a.png"), str(tmp_path / "a.bin"), str(tmp_path / "back.png")]
    where, located, resolved, points = run_there(f"import sys; sys.argv[1:] = {arguments!r}\n{FINDS}", tmp_path)
    assert Path(where).is_relative_to(tmp_path / "site")
    assert Path(located) == Path(resolved) == tmp_path / "site" / "rdp" / "pretrained" / name
    assert points == "factorized:weights=rdp,quality=1,step=1 factorized"
    assert load_model(located).architecture == "factorized"
    assert read_image(tmp_path / "back.png").shape == read_image(photos / "a.png").shape


def test_the_constraints_hold_names_and_versions_only(root: Path) -> None:
    import re

    lines = (root / "constraints.txt").read_text().splitlines()
    assert lines and all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!_-]+", line) for line in lines)

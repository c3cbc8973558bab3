"""Weights that come with the package: their entry in the index is all that makes them points of a family.

Every test runs in an installation of its own: the package as a wheel lays it out, with the index of the project and
small random networks under entries such as the project's own have.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import rdp
from rdp.images import read_image, write_png
from rdp.models.checkpoint import load_model, read_header, save_model
from rdp.models.provenance import trained_on_note
from rdp.weights import pretrained_folder, sha256_of

QUALITIES = {"hyperprior": 3, "shrinkage": 2, "hific": 1}


class Installation:
    """A folder with the package in it, and a home of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pretrained = folder / "site" / "rdp" / "pretrained"

    def run(self, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """The program with these words, far from the checkout."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("RDP_", "PYTHONPATH"))}
        done = subprocess.run(
            [sys.executable, "-m", "rdp", *words], cwd=self.folder, capture_output=True, text=True, check=False,
            env={**environment, "PYTHONPATH": str(self.folder / "site"), "RDP_HOME": str(self.folder / "home")},
        )  # fmt: skip
        assert done.returncode == code, done.stderr
        return done


@pytest.fixture(scope="module")
def installation(networks: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """The package with half-size weights of three families, trained (so they say) on an image of zeros."""
    made = Installation(tmp_path_factory.mktemp("installation"))
    package = made.folder / "site" / "rdp"
    shutil.copytree(Path(rdp.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__", "pretrained"))
    made.pretrained.mkdir()
    # Without the project's own entries, in whose place those of the test stand.
    tables = re.split(r"^(?=\[)", (pretrained_folder() / "index.toml").read_text(encoding="utf-8"), flags=re.MULTILINE)
    lines = ["".join(table for table in tables if not table.startswith("[rdp-"))]
    for family, count in QUALITIES.items():
        lines += [f"[rdp-{family}]", "files = ["]
        for quality in range(1, count + 1):
            path = made.pretrained / "new.safetensors"
            save_model(path, load_model(networks(family, quality)), trained_on_note(["0" * 64]), kernel_bits=16)
            name = f"rdp-{family}-{quality}-{sha256_of(path)[:8]}.safetensors"
            path.rename(made.pretrained / name)
            lines.append(f'  "{name}",')
        lines += ["]", 'licence = "MIT"', 'description = "A random network, quality {}"']
        lines += [f'used_by = ["{family}:weights=rdp,quality={{}}"]', ""]
    (made.pretrained / "index.toml").write_text("\n".join(lines), encoding="utf-8")
    return made


@pytest.mark.slow
def test_families_appear_with_their_weights_and_the_projects_own_are_meant(installation: Installation) -> None:
    families = {family["family"]: family for family in json.loads(installation.run("codecs", "--json").stdout)}
    for name in QUALITIES:
        keys = {key["name"]: key for key in families[name]["keys"]}
        assert keys["weights"]["default"] == "rdp" and not keys["weights"]["required"]
        assert keys["quality"]["required"]
    assert [key["values"] for key in families["shrinkage"]["keys"] if key["name"] == "quality"] == ["1..2"]
    specs = ["hyperprior:quality=1..3", "shrinkage:quality=2", "hific:quality=1"]
    done = installation.run("codecs", *specs, "--json")
    assert json.loads(done.stdout) == [
        *(f"hyperprior:weights=rdp,quality={quality},step=1" for quality in (1, 2, 3)),
        "shrinkage:weights=rdp,quality=2,step=1,tables=trained",
        "hific:weights=rdp,quality=1,step=1",
    ]
    assert "and 4 more: weights trained on 1 images" in done.stderr
    # A quality that only other people's weights have.
    assert "the quality is one of 1, 2, 3" in installation.run("codecs", "hyperprior:quality=4", code=2).stderr


@pytest.mark.slow
def test_shipped_weights_are_listed_verified_and_need_no_fetching(installation: Installation) -> None:
    for command, state in (("list", "present"), ("verify", "verified")):
        found = json.loads(installation.run("weights", command, "--json").stdout)["weights"]
        ours = [entry for entry in found if (entry["set"] or "").startswith("rdp-")]
        assert [entry["name"] for entry in ours] == [f"rdp-{f}-{q + 1}" for f, n in QUALITIES.items() for q in range(n)]
        assert {entry["state"] for entry in ours} == {state} and {entry["url"] for entry in ours} == {None}
        assert {Path(entry["path"]).parent for entry in ours} == {installation.pretrained}
    (line,) = [line for line in installation.run("weights", "list").stdout.splitlines() if "rdp-hyperprior" in line]
    assert "3 present" in line and "hyperprior:weights=rdp,quality=1..3" in line
    assert len(installation.run("weights", "fetch", "rdp-hyperprior").stdout.split()) == 3


@pytest.mark.slow
def test_an_evaluation_with_shipped_weights_names_and_finds_them(
    installation: Installation, photos: Path, tmp_path: Path
) -> None:
    codecs = ("-c", "hyperprior:quality=1..3", "-c", "shrinkage:quality=1,tables=flags", "-c", "hific:quality=1")
    installation.run(
        "evaluate", str(photos / "a.png"), *codecs, "-m", "mse", "-o", str(tmp_path / "run"), "-j", "1", "-q"
    )
    frame = rdp.open_run(tmp_path / "run").to_pandas()
    assert list(frame.status) == ["ok"] * 5
    assert set(frame.point) == {
        *(f"hyperprior:weights=rdp,quality={quality},step=1" for quality in (1, 2, 3)),
        "shrinkage:weights=rdp,quality=1,step=1,tables=flags",
        "hific:weights=rdp,quality=1,step=1",
    }
    assert pd.Series(frame.file_sha256).nunique() == 5


@pytest.mark.slow
@pytest.mark.parametrize("family", QUALITIES)
def test_a_file_is_decoded_with_the_shipped_weights_that_made_it(
    installation: Installation, photos: Path, tmp_path: Path, family: str
) -> None:
    """Nobody names the codec: the identity in the file finds the weights in the package."""
    quality = QUALITIES[family]
    file, back, named = (str(tmp_path / name) for name in ("image.bin", "back.png", "named.png"))
    spec = f"{family}:quality={quality}"
    installation.run("encode", str(photos / "a.png"), file, "-c", spec)
    installation.run("decode", file, back)
    installation.run("decode", file, named, "-c", spec)
    assert np.array_equal(read_image(Path(back)), read_image(Path(named)))
    (path,) = installation.pretrained.glob(f"rdp-{family}-{quality}-*.safetensors")
    assert read_header(path).identity in Path(file).read_bytes().hex()


@pytest.mark.slow
def test_shipped_weights_that_are_damaged_are_refused_and_not_passed_over(
    installation: Installation, photos: Path, tmp_path: Path
) -> None:
    (path,) = installation.pretrained.glob("rdp-hific-1-*.safetensors")
    whole = path.read_bytes()
    try:
        path.write_bytes(whole[:-4] + b"\0\0\0\0")
        done = installation.run("encode", str(photos / "a.png"), str(tmp_path / "x"), "-c", "hific:quality=1", code=2)
        assert path.name in done.stderr and "copy it again from where it came" in done.stderr
        assert "expected SHA-256" in installation.run("weights", "verify", "rdp-hific", code=2).stderr
    finally:
        path.write_bytes(whole)


def test_files_of_shipped_weights_decode_as_the_family_that_made_them(installation: Installation) -> None:
    image = installation.folder / "named.png"
    write_png(image, np.random.default_rng(3).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    installation.run("encode", str(image), "named.rdp", "--codec", "hyperprior:quality=2")
    done = installation.run("decode", "named.rdp", "named-decoded.png")
    assert "bytes of hyperprior" in done.stdout

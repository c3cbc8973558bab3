"""The index of weights: the project's own, and bad ones."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from rdp.errors import WeightsError
from rdp.weights import find_entry, load_index, pretrained_folder

from .conftest import SHA256


def test_the_projects_index_has_licence_hash_and_matching_names():
    index = load_index()
    assert {"alexnet", "vgg16", "squeezenet1_1", "squeezenet1_1_features_fp16"} <= set(index)
    for entry in index.values():
        assert entry.licence
        assert len(entry.sha256) == 64
        # The name of a torchvision file carries the beginning of its hash.
        stem, _, digits = Path(entry.filename).stem.rpartition("-")
        assert not stem or entry.sha256.startswith(digits)
        assert not entry.url or entry.url.endswith(entry.filename)


def test_every_user_in_the_index_is_a_metric_that_names_the_entry():
    from rdp.metrics import METRICS

    for entry in load_index().values():
        assert [name for name, metric in METRICS.items() if entry.name in metric.weights] == list(entry.used_by)
    known = set(load_index())
    assert all(set(metric.weights) <= known for metric in METRICS.values())


def test_the_index_lies_in_the_checkout_or_the_package():
    assert (pretrained_folder() / "index.toml").is_file()


def test_a_wheel_finds_the_folder_inside_the_package_and_without_it_says_so(tmp_path):
    """The package is copied as a wheel lays it out, without the checkout beside it."""
    import shutil

    import rdp

    site = tmp_path / "site"
    shutil.copytree(Path(rdp.__file__).parent, site / "rdp", ignore=shutil.ignore_patterns("__pycache__"))
    code = "from rdp.weights import pretrained_folder; print(pretrained_folder())"
    command = [sys.executable, "-c", code]
    options = {"cwd": tmp_path, "env": {"PYTHONPATH": str(site)}, "capture_output": True, "text": True}
    without = subprocess.run(command, check=False, **options)
    assert "the installation is not complete" in without.stderr
    shutil.copytree(pretrained_folder(), site / "rdp" / "pretrained")
    assert subprocess.run(command, check=False, **options).stdout.strip() == str(site / "rdp" / "pretrained")


def test_an_unknown_name_is_refused_with_a_suggestion():
    with pytest.raises(WeightsError, match=r"no weights are called 'alexnett'\. Did you mean 'alexnet'"):
        find_entry(load_index(), "alexnett")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sha256": None}, "is missing or wrong"),
        ({"sha256": "abc"}, "is missing or wrong"),
        ({"sha256": SHA256[:10]}, "has 10 digits"),
        ({"sha256": SHA256.upper()}, "is missing or wrong"),
        ({"sha256_prefix": SHA256[:8]}, "not both"),
        ({"licence": None}, "licence is missing"),
        ({"filename": "../net.pth"}, "bare name"),
        ({"url": "file:///etc/passwd"}, "must begin with https"),
        ({"size": -1}, "positive number of bytes"),
        ({"used_by": "lpips"}, "list of names"),
        ({"sha25": SHA256}, "unknown key 'sha25'. Did you mean 'sha256'"),
        ({"url": 7}, "url must be text"),
    ],
)
def test_a_bad_entry_is_refused_by_name(changes, message, index_of):
    path = index_of(**changes)
    with pytest.raises(WeightsError, match=message) as caught:
        load_index(path)
    assert str(path) in str(caught.value)
    assert "[net]" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"), [("version = 2", "has version 2"), ("[", "cannot be read"), ("version = 1\nnet = 3", "table")]
)
def test_a_file_that_is_no_index_is_refused(text, message, tmp_path):
    path = tmp_path / "other.toml"
    path.write_text(text)
    with pytest.raises(WeightsError, match=message):
        load_index(path)
    with pytest.raises(WeightsError, match="cannot be read"):
        load_index(tmp_path / "none.toml")

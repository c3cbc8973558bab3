"""The index of weights: the project's own, and bad ones."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdp.errors import WeightsError
from rdp.weights import entries_used_by, find_entries, find_entry, load_index, pretrained_folder, span

from .conftest import SHA256


def test_the_projects_index_has_licence_hash_and_matching_names():
    index = load_index()
    assert {"alexnet", "vgg16", "squeezenet1_1", "squeezenet1_1_features_fp16"} <= set(index)
    for entry in index.values():
        assert entry.licence
        # Names carry the beginning of the hash, for torchvision's files behind a dash and for CompressAI's likewise.
        stem, _, digits = entry.filename.partition(".")[0].rpartition("-")
        assert not stem or entry.expected.startswith(digits)
        assert len(entry.sha256) == 64 or (entry.set and len(entry.sha256_prefix) == 8)
        assert not entry.url or entry.url.endswith("/" + entry.filename)


def test_every_user_in_the_index_is_a_metric_that_names_the_entry_or_a_point():
    from rdp.metrics import METRICS
    from rdp.metrics.feature_networks import NETWORKS

    for entry in load_index().values():
        metrics = [user for user in entry.used_by if ":" not in user]
        networks = [network for network in NETWORKS.values() if entry.name in network.weights]
        expected = [name for name, metric in METRICS.items() if entry.name in (*metric.weights, *metric.also)]
        assert expected + [name for network in networks for name in (network.frechet, network.kernel)] == metrics
    known = set(load_index())
    assert all({*metric.weights, *metric.also} <= known for metric in METRICS.values())


def test_the_published_checkpoints_of_compressai_are_48_of_our_networks_and_40_of_others():
    index = load_index()
    mean = index["mbt2018-mean-ms-ssim-3"]
    assert mean.filename == "mbt2018-mean-ms-ssim-3-640ce819.pth.tar" and mean.sha256_prefix == "640ce819"
    assert mean.url == f"https://compressai.s3.amazonaws.com/models/v1/{mean.filename}"
    assert mean.used_by[0] == "hyperprior:weights=mbt2018-mean-ms-ssim,quality=3"
    ours = [entry for family in ("factorized", "hyperprior") for _, entry in entries_used_by(family)]
    ours = [entry for entry in ours if "CompressAI" in entry.description]
    assert len(ours) == len({entry.filename for entry in ours}) == 48
    every = [entry for _, entry in entries_used_by("compressai")]
    assert len(every) == len({entry.sha256_prefix for entry in every}) == 88
    assert {entry.name for entry in ours} < {entry.name for entry in every}


def test_a_family_asks_which_of_its_keys_have_weights(tmp_path):
    found = entries_used_by("compressai")
    keys, entry = found[0]
    assert keys == {"model": "bmshj2018-factorized", "quality": "1", "metric": "mse"}
    assert entry is not None and entry.name == "bmshj2018-factorized-mse-1"
    assert len({tuple(keys.items()) for keys, _ in found}) == len(found)
    assert entries_used_by("lpips_alex") == [] and entries_used_by("compress") == []
    path = write_set(tmp_path, used_by='["f:quality"]')
    with pytest.raises(WeightsError, match="'f:quality', which is not written family:key=value"):
        entries_used_by("f", path)


def write_set(folder: Path, **changes: str) -> Path:
    fields = {
        "files": '["a-1-0123456789.pth", "b-2-aabbccdd.pth.tar"]', "licence": '"MIT"', "description": '"file {}"',
        "url": '"https://x/y/"', "used_by": '["f:weights=many,quality={}"]',
    } | changes  # fmt: skip
    path = folder / "index.toml"
    path.write_text("version = 1\n[many]\n" + "\n".join(f"{key} = {value}" for key, value in fields.items()))
    return path


def test_a_set_is_an_entry_for_each_of_its_files(tmp_path):
    index = load_index(write_set(tmp_path))
    assert list(index) == ["many-1", "many-2"]
    assert [entry.sha256_prefix for entry in index.values()] == ["0123456789", "aabbccdd"]
    second = index["many-2"]
    assert (second.url, second.description) == ("https://x/y/b-2-aabbccdd.pth.tar", "file 2")
    assert second.used_by == ("f:weights=many,quality=2",) and second.set == "many"
    assert find_entries(index, "many") == list(index.values()) and find_entries(index, "many-2") == [second]
    with pytest.raises(WeightsError, match=r"'many' is a set of weights; name one of its files: many-1\.\.2"):
        find_entry(index, "many")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"files": "[]"}, "files must be a list of file names"),
        ({"files": '["a.pth"]'}, "'a.pth' does not end in the first digits"),
        ({"files": '["../a-01234567.pth"]'}, "bare name"),
        ({"sha256": '"00"'}, "unknown key 'sha256' of a set"),
        ({"licence": '""'}, "licence is missing"),
        ({"used_by": '"f"'}, "list of names"),
        ({"many-1]\n[x": "1"}, "cannot be read"),
    ],
)
def test_a_bad_set_is_refused_by_name(changes, message, tmp_path):
    path = write_set(tmp_path, **changes)
    with pytest.raises(WeightsError, match=message) as caught:
        load_index(path)
    assert str(path) in str(caught.value)


def test_two_entries_of_one_name_are_refused(tmp_path):
    path = write_set(tmp_path)
    path.write_text(
        path.read_text() + '\n[many-2]\nfilename = "c"\nsha256_prefix = "00000000"\nlicence = "MIT"\ndescription = "x"'
    )
    with pytest.raises(WeightsError, match=r"\[many-2\]: there is an entry 'many-2' already"):
        load_index(path)


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=30, unique=True), st.sampled_from(["a-", "q=1,n=", "7x"]))
def test_texts_that_differ_in_a_number_become_one(numbers: list[int], start: str):
    texts = [f"{start}{number},end" for number in sorted(numbers)]
    low, high = min(numbers), max(numbers)
    assert span(texts) == (texts[0] if low == high else f"{start}{low}..{high},end")


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

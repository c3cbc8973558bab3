"""Features in a run folder: what is kept is what would be computed, nothing is computed twice, nothing goes unseen."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from filelock import FileLock

import rdp
from rdp.errors import MetricError, RunFolderError, SpecError
from rdp.evaluation.features import (
    CellArrays,
    compute_features,
    compute_projections,
    plan_features,
    plan_projections,
)
from rdp.images import read_image, write_png
from rdp.metrics.features import FeatureNetwork
from rdp.metrics.patches import PatchGrid
from rdp.metrics.swd_features import SwdSettings, image_key
from rdp.metrics.wasserstein import descriptors, sliced_wasserstein, sorted_distance

POINTS = ["webp:quality=30|80", "jpeg:quality=40"]
GRID = PatchGrid(16, (0, 8))
SWD = SwdSettings(patches=20, projections=24, seed=3)


class Colours(torch.nn.Module):
    """Six features: mean and spread of each channel."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x.mean(dim=(2, 3)), x.std(dim=(2, 3))], dim=1)


def colours(patches: np.ndarray) -> np.ndarray:
    """The same in NumPy."""
    values = patches.astype(np.float64) / 255
    return np.concatenate([values.mean(axis=(1, 2)), values.std(axis=(1, 2), ddof=1)], axis=1)


@pytest.fixture
def run(photos: Path, tmp_path: Path) -> rdp.Run:
    """Three pictures of 56x40, 47x33 and 48x64 pixels at three points, with reconstructions and files kept."""
    return rdp.evaluate(photos, POINTS, ["mse"], tmp_path / "run", jobs=1, keep=["files", "reconstructions"])


def count_computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Patches of each call of a network, from now on."""
    calls: list[int] = []
    original = FeatureNetwork.features

    def counted(self: FeatureNetwork, patches: Any) -> Any:
        calls.append(len(patches))
        return original(self, patches)

    monkeypatch.setattr(FeatureNetwork, "features", counted)
    return calls


def everything(found: CellArrays) -> list[np.ndarray]:
    images, points = range(len(found.images)), range(len(found.points))
    return [found.reference(i) for i in images] + [found.cell(i, p) for i in images for p in points]


def same(one: CellArrays, two: CellArrays) -> None:
    assert (one.images, one.points, one.fingerprint) == (two.images, two.points, two.fingerprint)
    for a, b in zip(everything(one), everything(two), strict=True):
        assert np.array_equal(a, b)


def tiles(image: np.ndarray, side: int, offsets: tuple[int, ...]) -> np.ndarray:
    return np.stack(
        [
            image[top : top + side, left : left + side]
            for offset in offsets
            for top in range(offset, image.shape[0] - side + 1, side)
            for left in range(offset, image.shape[1] - side + 1, side)
        ]
    )


def test_features_are_those_of_the_pictures_themselves(run: rdp.Run, photos: Path) -> None:
    found = compute_features(run, Colours(), patches=GRID)
    assert found.names == ("a.png", "b.png", "more/c.png")
    assert [name.partition(",")[0] for name in found.points] == [
        "jpeg:quality=40",
        "webp:quality=30",
        "webp:quality=80",
    ]
    assert found.counts.tolist() == [6 + 6, 4 + 2, 12 + 6]
    assert found.devices == ("cpu",) and found.without == ()
    frame = run.to_pandas()
    for i, (_, image) in enumerate(found.images):
        original = tiles(read_image(photos / image), 16, (0, 8))
        np.testing.assert_allclose(found.reference(i), colours(original), atol=1e-6)
        for p, point in enumerate(found.points):
            (row,) = frame[(frame.image == image) & (frame.point == point)].itertuples()
            decoded = read_image(run.object_path(row.reconstruction_sha256, ".png"))
            np.testing.assert_allclose(found.cell(i, p), colours(tiles(decoded, 16, (0, 8))), atol=1e-6)
            assert not np.allclose(found.cell(i, p), found.reference(i), atol=1e-4)


@pytest.mark.parametrize("keep", ["reconstructions", "files", "none"])
def test_features_do_not_depend_on_what_the_run_has_kept(keep: str, run: rdp.Run, photos: Path, tmp_path: Path) -> None:
    other = rdp.evaluate(photos, POINTS, ["mse"], tmp_path / keep, jobs=1, keep=keep)
    same(compute_features(other, Colours(), patches=GRID), compute_features(run, Colours(), patches=GRID))


def test_a_second_call_computes_only_what_is_missing(
    run: rdp.Run, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = count_computed(monkeypatch)
    first = compute_features(run, Colours(), patches=GRID, points=["webp*"])
    assert len(calls) == 3 + 6
    again = compute_features(run, Colours(), patches=GRID, points=["webp*"])
    assert len(calls) == 9
    same(first, again)
    rdp.evaluate(photos, ["webp:quality=50"], ["mse"], run.path, jobs=1)
    all_points = compute_features(run.path, Colours(), patches=GRID)
    assert len(calls) == 9 + 2 * 3 and len(all_points.points) == 4
    # Another grid and another network are other features.
    compute_features(run, Colours(), patches=GRID.held_out(), points=["jpeg*"])
    assert len(calls) == 15 + 6
    compute_features(run, Colours(), name="others", patches=GRID, points=["jpeg*"])
    assert len(calls) == 21 + 6


def test_a_plan_says_the_bytes_before_anything_is_computed(run: rdp.Run) -> None:
    plan = plan_features(run, Colours(), patches=GRID)
    patches = 12 + 6 + 18
    assert (plan.images, plan.points, plan.cells, plan.patches) == (3, 3, 9, patches)
    assert (plan.pictures, plan.missing) == (12, 12)
    assert plan.nbytes == plan.missing_nbytes == 4 * patches * 6 * (1 + 3)
    assert not (run.path / "features").exists()
    assert "12 of 12 pictures to compute, 3.46 kB of 3.46 kB" in plan.sentence
    found = compute_features(run, Colours(), patches=GRID)
    plan = plan_features(run, Colours(), patches=GRID)
    assert (plan.missing, plan.missing_nbytes, plan.nbytes) == (0, 0, 4 * patches * 6 * 4)
    on_disk = sum(path.stat().st_size for path in found.folder.rglob("*.npy"))
    assert plan.nbytes < on_disk < plan.nbytes + 12 * 200


class Told:
    def __init__(self) -> None:
        self.notes: list[str] = []
        self.done = 0

    def start(self, stage: str, total: int, unit: str) -> None:
        self.total = total

    def advance(self, count: int = 1) -> None:
        self.done += count

    def finish(self) -> None:
        pass

    def note(self, message: str) -> None:
        self.notes.append(message)


def test_progress_is_told_the_plan_and_every_picture(run: rdp.Run) -> None:
    told = Told()
    compute_features(run, Colours(), patches=GRID, progress=told)
    assert told.notes == [
        plan_features(run, Colours(), patches=GRID)
        .sentence.replace("0 of 12", "12 of 12")
        .replace("0 bytes of", "3.46 kB of")
    ]
    assert told.done == told.total == 12


def test_nothing_is_told_where_there_is_nothing_to_compute(run: rdp.Run) -> None:
    compute_features(run, Colours(), patches=GRID)
    told = Told()
    compute_features(run, Colours(), patches=GRID, progress=told)
    assert told.notes == [] and told.done == 0


def test_pictures_of_equal_pixels_are_stored_once(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # PNG decodes to the originals.
    run = rdp.evaluate(photos, ["png", "jpeg:quality=40"], ["mse"], tmp_path / "run", jobs=1)
    calls = count_computed(monkeypatch)
    found = compute_features(run, Colours(), patches=GRID)
    assert len(calls) == len(list(found.folder.rglob("*.npy"))) == 3 + 3
    (png,) = (p for p, name in enumerate(found.points) if name.startswith("png"))
    assert all(np.array_equal(found.cell(i, png), found.reference(i)) for i in range(3))


# ---- interruptions and damage

KILLED = """
import os, signal, sys
import rdp
from rdp.evaluation.features import compute_features
from rdp.metrics.features import FeatureNetwork
from rdp.metrics.patches import PatchGrid
sys.path.insert(0, sys.argv[2])
done, original = [], FeatureNetwork.features
def features(self, patches):
    if len(done) == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    done.append(1)
    return original(self, patches)
FeatureNetwork.features = features
compute_features(sys.argv[1], "own_module:Colours", patches=PatchGrid(16, (0, 8)))
"""

MODULE = """
import torch
class Colours(torch.nn.Module):
    def forward(self, x):
        return torch.cat([x.mean(dim=(2, 3)), x.std(dim=(2, 3))], dim=1)
"""


def test_a_killed_process_leaves_what_it_has_and_the_next_goes_on(
    run: rdp.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_module.py").write_text(MODULE)
    done = subprocess.run([sys.executable, "-c", KILLED, str(run.path), str(tmp_path)], check=False, timeout=300)
    assert done.returncode == -signal.SIGKILL
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_module", raising=False)
    (folder,) = (run.path / "features").iterdir()
    assert len(list(folder.rglob("*.npy"))) == 5
    leftover = next(folder.rglob("*.npy")).with_name(".0123.tmp")
    leftover.write_bytes(b"half")
    calls = count_computed(monkeypatch)
    found = compute_features(run, "own_module:Colours", patches=GRID)
    assert len(calls) == 12 - 5 and not leftover.exists() and found.folder == folder
    for a, b in zip(everything(found), everything(compute_features(run, Colours(), patches=GRID)), strict=True):
        assert np.array_equal(a, b)
    assert len(run.to_pandas()) == 9, "the run is a run as before"


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty", "other shape"])
def test_a_damaged_file_is_named_and_made_again_once_it_is_deleted(damage: str, run: rdp.Run) -> None:
    found = compute_features(run, Colours(), patches=GRID)
    before = [array.copy() for array in everything(found)]
    sha = run.to_pandas().pixels_sha256[0]
    path = found.folder / sha[:2] / f"{sha}.npy"
    data = bytearray(path.read_bytes())
    if damage == "flipped":
        data[-20] ^= 1
        path.write_bytes(data)
    elif damage == "cut":
        path.write_bytes(data[:-9])
    elif damage == "empty":
        path.write_bytes(b"")
    else:
        other = next(p for p in sorted(found.folder.rglob("*.npy")) if p.stat().st_size != len(data))
        path.write_bytes(other.read_bytes())
    with pytest.raises(RunFolderError, match=f"{sha}.npy is damaged .*delete it"):
        everything(compute_features(run, Colours(), patches=GRID))
    path.unlink()
    with pytest.raises(RunFolderError, match="is missing"):
        found.reference(0)
    for a, b in zip(everything(compute_features(run, Colours(), patches=GRID)), before, strict=True):
        assert np.array_equal(a, b)


def test_two_processes_do_not_compute_the_same_features(run: rdp.Run) -> None:
    plan = plan_features(run, Colours(), patches=GRID)
    plan.folder.mkdir(parents=True)
    with FileLock(plan.folder / ".lock"), pytest.raises(RunFolderError, match="another process"):
        compute_features(run, Colours(), patches=GRID)
    found = compute_features(run, Colours(), patches=GRID)
    with FileLock(plan.folder / ".lock"):
        same(compute_features(run, Colours(), patches=GRID), found)


def test_a_disk_without_room_is_met_before_the_work(run: rdp.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = count_computed(monkeypatch)
    usage = type("Usage", (), {"free": 1000})()
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    with pytest.raises(RunFolderError, match="3.46 kB are needed and 1 kB are free"):
        compute_features(run, Colours(), patches=GRID)
    assert not calls


def test_another_device_is_compared_before_it_adds_to_what_is_there(run: rdp.Run) -> None:
    found = compute_features(run, Colours(), patches=GRID, points=["jpeg*"])
    description = found.folder / "features.json"
    document = json.loads(description.read_text())
    assert document["devices"] == ["cpu"]
    description.write_text(json.dumps({**document, "devices": ["Some GPU"]}))
    assert compute_features(run, Colours(), patches=GRID, points=["webp:quality=30*"]).devices == ("Some GPU", "cpu")
    # Had the other device given other numbers, they would not be mixed.
    from rdp.tables.feature_store import FeatureStore

    store = FeatureStore(run.path, found.name, found.fingerprint, found.identity)
    for row in run.to_pandas().itertuples():
        path = store.file(row.pixels_sha256)
        if path.exists():
            shape = np.load(path).shape
            with store.writing() as writer:
                writer.write(row.pixels_sha256, np.full(shape, 0.7, np.float32))
    description.write_text(json.dumps({**document, "devices": ["Some GPU"]}))
    with pytest.raises(MetricError, match="differ by .* between Some GPU"):
        compute_features(run, Colours(), patches=GRID)


# ---- what cannot be computed


def test_images_smaller_than_a_patch_are_refused_or_counted_by_name(run: rdp.Run) -> None:
    with pytest.raises(MetricError, match=r"1 of 3 images .*b.png \(47x33\)"):
        compute_features(run, Colours(), patches=PatchGrid.of(40, shifted=False))
    grid = PatchGrid.of(40, shifted=False, small="none")
    found = compute_features(run, Colours(), patches=grid)
    assert found.without == ("b.png",) and found.counts.tolist() == [1, 0, 1]
    assert found.reference(1).shape == found.cell(1, 0).shape == (0, 6)
    assert list(found.of_originals()) == ["a.png", "more/c.png"]
    assert len(found.of_cells()) == 2 * 3
    assert "1 images have no patch: b.png" in plan_features(run, Colours(), patches=grid).sentence
    mirrored = compute_features(run, Colours(), patches=PatchGrid.of(40, shifted=False, small="mirror"))
    assert mirrored.counts.tolist() == [1, 1, 1] and mirrored.fingerprint != found.fingerprint


def test_images_that_take_no_part_are_neither_looked_at_nor_computed(run: rdp.Run) -> None:
    grid = PatchGrid.of(40, shifted=False)
    only = [("photos", "more/c.png"), ("photos", "a.png")]
    plan = plan_features(run, Colours(), patches=grid, only=only)
    assert (plan.images, plan.cells, plan.missing, plan.without) == (2, 6, 8, ())
    found = compute_features(run, Colours(), patches=grid, only=only)
    assert found.names == ("a.png", "more/c.png")
    everyone = compute_features(run, Colours(), patches=PatchGrid.of(40, shifted=False, small="none"))
    for mine, theirs in ((0, 0), (1, 2)):
        assert np.array_equal(found.reference(mine), everyone.reference(theirs))
        assert np.array_equal(found.cell(mine, 1), everyone.cell(theirs, 1))
    with pytest.raises(SpecError, match=r"no cell of photos/z.png that did not fail"):
        compute_features(run, Colours(), patches=grid, only=[*only, ("photos", "z.png")])


def test_pictures_that_are_not_those_of_the_rows_are_refused(run: rdp.Run, photos: Path) -> None:
    row = run.to_pandas().iloc[0]
    kept = run.object_path(row.reconstruction_sha256, ".png")
    write_png(kept, read_image(kept)[::-1].copy())
    with pytest.raises(RunFolderError, match=f"{kept.name} is damaged"):
        compute_features(run, Colours(), patches=GRID)
    kept.unlink()
    file = run.object_path(row.file_sha256)
    file.write_bytes(b"other bytes")
    with pytest.raises(RunFolderError, match=f"{file.name} is damaged"):
        compute_features(run, Colours(), patches=GRID)
    file.unlink()
    compute_features(run, Colours(), patches=GRID)
    write_png(photos / "a.png", read_image(photos / "a.png")[::-1].copy())
    with pytest.raises(RunFolderError, match="a.png has other pixels"):
        compute_features(run, Colours(), patches=GRID.held_out())


def test_originals_that_moved_are_found_in_the_folder_that_is_named(run: rdp.Run, photos: Path) -> None:
    moved = photos.rename(photos.with_name("elsewhere"))
    with pytest.raises(RunFolderError, match=r"a.png.*is gone: name the folder"):
        compute_features(run, Colours(), patches=GRID)
    assert compute_features(run, Colours(), patches=GRID, images=moved).available.all()


def test_cells_that_failed_are_missing_by_name(photos: Path, tmp_path: Path, crashy: Path) -> None:
    with pytest.warns(RuntimeWarning, match="1 cells"):
        run = rdp.evaluate(photos, ["crashy:how=raise,level=1", "png"], ["mse"], tmp_path / "run", jobs=1)
    found = compute_features(run, Colours(), patches=GRID)
    assert found.available.sum() == 5
    with pytest.raises(MetricError, match=r"1 of 6 cells failed .*crashy:.* of 'b.png'"):
        found.of_cells()
    with pytest.raises(RunFolderError, match="crashy"):
        found.cell(1, found.points.index(next(name for name in found.points if "crashy" in name)))


def test_points_that_the_run_does_not_have_are_refused(run: rdp.Run) -> None:
    with pytest.raises(SpecError, match="Did you mean"):
        compute_features(run, Colours(), patches=GRID, points=["webp:quality=31"])
    with pytest.raises(SpecError, match="list of names"):
        compute_features(run, Colours(), patches=GRID, points="webp*")


# ---- sliced Wasserstein


def test_projections_merge_to_the_distance_of_the_mixture(run: rdp.Run, photos: Path) -> None:
    found = compute_projections(run, SWD)
    frame = run.to_pandas()
    keys = [image_key(frame[frame.image == image].pixels_sha256.iloc[0]) for _, image in found.images]
    originals = [read_image(photos / image) for _, image in found.images]
    choice = [2, 0, 1]
    chosen = []
    for (_, image), point in zip(found.images, choice, strict=True):
        (row,) = frame[(frame.image == image) & (frame.point == found.points[point])].itertuples()
        chosen.append(read_image(run.object_path(row.reconstruction_sha256, ".png")))
    options: dict[str, Any] = {"patches": SWD.patches, "seed": SWD.seed, "keys": keys}
    expected = sliced_wasserstein(
        descriptors(originals, **options),
        descriptors(chosen, levels=2, **options),
        projections=SWD.projections,
        seed=SWD.seed,
    )
    merged = [
        np.sort(np.concatenate(parts, axis=2), axis=2)
        for parts in ([found.reference(i) for i in range(3)], [found.cell(i, p) for i, p in enumerate(choice)])
    ]
    assert merged[0].shape == (2, SWD.projections, 3 * SWD.patches)
    levels = [sorted_distance(a, b) for a, b in zip(*merged, strict=True)]
    assert levels == pytest.approx(expected.levels, rel=1e-5)
    assert min(levels) > 0.001


def test_projections_are_cached_under_their_settings_and_the_set_of_originals(
    run: rdp.Run, photos: Path, picture: Any
) -> None:
    plan = plan_projections(run, SWD)
    assert plan.nbytes == 12 * 4 * 2 * SWD.projections * SWD.patches
    first = compute_projections(run, SWD)
    times = {path: path.stat().st_mtime_ns for path in first.folder.rglob("*.npy")}
    same(first, compute_projections(run, SWD))
    assert times == {path: path.stat().st_mtime_ns for path in first.folder.rglob("*.npy")}
    assert compute_projections(run, SwdSettings(20, 7, 24, 4)).fingerprint != first.fingerprint
    # What is missing is made by the statistics that are kept, though originals are not at hand.
    gone = next(iter(times))
    kept = np.load(gone)
    gone.unlink()
    compute_projections(run, SWD)
    assert np.array_equal(np.load(gone), kept)
    write_png(photos / "d.png", picture(50, 50))
    rdp.evaluate(photos, POINTS, ["mse"], run.path, jobs=1)
    assert compute_projections(run, SWD).fingerprint != first.fingerprint


def test_projections_refuse_an_image_without_a_level(photos: Path, tmp_path: Path, picture: Any) -> None:
    write_png(photos / "tiny.png", picture(12, 40))
    run = rdp.evaluate(photos, ["png"], ["mse"], tmp_path / "run", jobs=1)
    with pytest.raises(MetricError, match="tiny.png: .*40x12"):
        compute_projections(run, SWD)


# ---- what the scorers of sets take


def test_the_scorers_of_sets_take_what_is_given(run: rdp.Run) -> None:
    cells = pytest.importorskip("rdp.analysis.sets.cells")
    found = compute_features(run, Colours(), patches=GRID)
    features = cells.feature_cells(found.of_originals(), found.of_cells(), found.points)
    assert features.patches == found.counts.sum() and features.images == found.names
    assert np.array_equal(features.cells[1][2], found.cell(1, 2))
    projections = compute_projections(run, SWD)
    merged = cells.projection_cells(projections.of_originals(), projections.of_cells(), projections.points)
    assert merged.shape == (2, SWD.projections, SWD.patches)

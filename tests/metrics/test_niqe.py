"""NIQE against a slow independent computation and published programmes, and the models of one's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.signal import convolve2d
from scipy.special import gamma
from skimage import data

from rdp.errors import MetricError, SpecError, WeightsError
from rdp.metrics import create_metrics, plan_metrics
from rdp.metrics.niqe import block_features, fit_pristine, niqe, read_model

from .conftest import compress

PROGRAMMES = {
    "chelsea": (2.572084171566674, 2.572078543614998),
    "coffee": (4.058465425300524, 4.058428630527581),
}
"""Photographs of scikit-image without flat areas, against the authors' model: basicsr 1.4.2 (`niqe` of the gray levels)
and pyiqa 0.1.16 (`calculate_niqe(gray[None, None] / 255, mu_pris_param=..., cov_pris_param=...)`, float64), both given
the picture by the weights 0.298936021293776, 0.587043074451121, 0.114020904255103, rounded."""


@pytest.fixture
def official(shared_weights, monkeypatch):
    """The authors' model through the metric."""
    monkeypatch.setenv("RDP_WEIGHTS", str(shared_weights))
    return create_metrics(["niqe"])[0]


@pytest.fixture(scope="module")
def photographs() -> list[np.ndarray]:
    """Crops of 192 x 192 pixels, each with a sharpest block of its own."""
    return [
        np.ascontiguousarray(image[top : top + 192, left : left + 192])
        for image in (data.astronaut(), data.coffee())
        for top in range(0, image.shape[0] - 191, 96)
        for left in range(0, image.shape[1] - 191, 96)
    ]


@pytest.fixture(scope="module")
def fitted(photographs, tmp_path_factory) -> Path:
    return fit_pristine(photographs, tmp_path_factory.mktemp("niqe") / "own.npz")


def score(metric, image: np.ndarray) -> float:
    return metric.score(metric.prepare(image), [image])[metric.name][0]


# ---- an independent computation, term by term as the paper and MATLAB's manual say it


def cubic(x: float) -> float:
    """Keys' kernel with a = -1/2."""
    x = abs(x)
    if x <= 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0.0


def halving(length: int) -> np.ndarray:
    """The matrix (length / 2, length) of `imresize(..., 0.5)`: the kernel twice as wide, borders mirrored."""
    matrix = np.zeros((length // 2, length))
    for row in range(length // 2):
        centre = 2 * row + 0.5
        taps = {place: cubic((place - centre) / 2) for place in range(2 * row - 4, 2 * row + 6)}
        for place, weight in taps.items():
            mirrored = -1 - place if place < 0 else 2 * length - 1 - place if place >= length else place
            matrix[row, mirrored] += weight / sum(taps.values())
    return matrix


def fit(values: np.ndarray) -> tuple[float, float, float]:
    shapes = np.arange(0.2, 10.0005, 0.001)
    table = gamma(2 / shapes) ** 2 / (gamma(1 / shapes) * gamma(3 / shapes))
    left, right = (np.sqrt(np.mean(side**2)) for side in (values[values < 0], values[values > 0]))
    ratio = left / right
    moment = np.mean(np.abs(values)) ** 2 / np.mean(values**2)
    wanted = moment * (ratio**3 + 1) * (ratio + 1) / (ratio**2 + 1) ** 2
    shape = shapes[np.argmin((table - wanted) ** 2)]
    scale = np.sqrt(gamma(1 / shape) / gamma(3 / shape))
    return shape, left * scale, right * scale


def slow_features(image: np.ndarray) -> np.ndarray:
    y, x = np.mgrid[-3:4, -3:4]
    window = np.exp(-(x**2 + y**2) / (2 * (7 / 6) ** 2))
    window /= window.sum()
    height, width = (side // 96 * 96 for side in image.shape[:2])
    weights = 0.298936021293776, 0.587043074451121, 0.114020904255103
    gray = np.round(sum(w * image[:height, :width, c].astype(float) for c, w in enumerate(weights)))
    found: list[list[float]] = [[] for _ in range(height // 96 * (width // 96))]
    for side in (96, 48):
        padded = np.pad(gray, 3, mode="edge")
        mean, square = (convolve2d(plane, window, mode="valid") for plane in (padded, padded**2))
        normal = (gray - mean) / (np.sqrt(np.abs(square - mean**2)) + 1)
        blocks = [
            normal[top : top + side, start : start + side]
            for top in range(0, normal.shape[0], side)
            for start in range(0, normal.shape[1], side)
        ]
        for block, row in zip(blocks, found, strict=True):
            shape, left, right = fit(block.ravel())
            row += [shape, (left + right) / 2]
            for down, across in ((0, 1), (1, 0), (1, 1), (1, -1)):
                neighbour = np.roll(np.roll(block, down, axis=0), across, axis=1)
                shape, left, right = fit((block * neighbour).ravel())
                row += [shape, (right - left) * gamma(2 / shape) / gamma(1 / shape), left, right]
        gray = halving(gray.shape[0]) @ gray @ halving(gray.shape[1]).T
    return np.array(found)


def test_features_equal_those_of_the_slow_computation():
    image = data.chelsea()[:197, 100:311]
    found = block_features(image).features
    assert found.shape == (4, 36)
    assert found == pytest.approx(slow_features(image), rel=1e-9, abs=1e-12)


def test_the_distance_is_the_formula_of_the_paper_in_the_slow_features(official, shared_weights):
    image = data.chelsea()[:197, 100:311]
    features = slow_features(image)
    with np.load(shared_weights / "niqe_pris_params.npz") as model:
        away = model["mu_pris_param"].ravel() - features.mean(axis=0)
        pooled = (model["cov_pris_param"] + np.cov(features.T)) / 2
    assert score(official, image) == pytest.approx(np.sqrt(away @ np.linalg.solve(pooled, away)), rel=1e-9)


@pytest.mark.parametrize("name", list(PROGRAMMES))
def test_it_agrees_with_published_programmes_on_photographs_without_flat_areas(name, official):
    basicsr, pyiqa = PROGRAMMES[name]
    found = score(official, getattr(data, name)())
    assert found == pytest.approx(basicsr, abs=1e-5)
    assert found == pytest.approx(pyiqa, abs=1e-4)


def test_flat_areas_have_no_rounding_noise_so_that_gray_levels_may_be_shifted(official):
    # The window's mean of a flat area is the level itself, and of which level it is must not matter.
    image = np.clip(data.rocket(), 16, 235)
    flat = compress(image, 20)
    flat = flat.clip(24, 250)
    assert score(official, flat + np.uint8(5)) == pytest.approx(score(official, flat), rel=1e-6)


# ---- what it is for, and what it refuses


def test_the_reference_does_not_matter_and_rows_beyond_whole_blocks_do_not_count(official):
    image = data.chelsea()[:200, :300]
    other = official.score(official.prepare(np.zeros_like(image)), [image])["niqe"][0]
    assert other == score(official, image) == score(official, image[:192, :288])


def test_a_picture_without_texture_is_an_error_and_no_number(official):
    flat = np.full((192, 288, 3), 77, np.uint8)
    with pytest.raises(MetricError, match=r"at least 2 blocks .* of the 6 blocks of this picture 0 are"):
        score(official, flat)
    # Windows reach over the edge of a block: texture must stay away from the others' to be in one only.
    flat[16:80, 16:80] = data.chelsea()[16:80, 16:80]
    with pytest.raises(MetricError, match="6 blocks of this picture 1 are"):
        score(official, flat)
    flat[112:176, 112:176] = data.chelsea()[112:176, 112:176]
    assert score(official, flat) > 0


def test_pictures_below_two_by_two_blocks_are_refused(official):
    with pytest.raises(MetricError, match="at least 192 pixels; this one is 500x191"):
        official.prepare(np.zeros((191, 500, 3), np.uint8))
    with pytest.raises(MetricError, match="95x200 has none"):
        block_features(np.zeros((200, 95, 3), np.uint8))


# ---- models of one's own


def test_a_fitted_model_is_mean_and_covariance_of_the_sharp_blocks(photographs, fitted):
    kept = []
    for image in photographs:
        found = block_features(image)
        kept += [row for row, s in zip(found.features, found.sharpness, strict=True) if s > 0.75 * max(found.sharpness)]
    model = read_model(fitted)
    assert len(kept) > 36
    assert model.mean == pytest.approx(np.mean(kept, axis=0))
    assert model.covariance == pytest.approx(np.cov(np.array(kept).T))


def test_a_fitted_model_is_planned_by_its_file_and_judges_compression(fitted):
    (metric,) = create_metrics([f"niqe:model={fitted}"])
    assert (metric.name, metric.columns) == ("niqe_fitted", ("niqe_fitted",))
    assert metric.identity["weights_sha256"] == [plan_metrics([f"niqe:model={fitted}"])[0].weights[0].sha256]
    image = data.astronaut()
    assert score(metric, compress(image, 5)) > 1.5 * score(metric, image)
    assert score(metric, image) == niqe(image, read_model(fitted))


def test_a_fitted_model_in_a_folder_of_weights_is_found_by_its_name(fitted, tmp_path, monkeypatch):
    monkeypatch.setenv("RDP_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("RDP_WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsError, match=r"'niqe_fitted' needs a file of your own.*fit_pristine"):
        plan_metrics(["niqe_fitted"])
    (tmp_path / "niqe_fitted.npz").write_bytes(fitted.read_bytes())
    by_name, by_file = plan_metrics(["niqe_fitted"]) + plan_metrics([f"niqe:model={fitted}"])
    assert by_name.fingerprint == by_file.fingerprint
    assert len(plan_metrics(["niqe_fitted", f"niqe:model={fitted}"])) == 1


def test_files_can_be_fitted_and_the_same_photographs_give_the_same_file(photographs, fitted, tmp_path):
    from PIL import Image

    paths = []
    for number, image in enumerate(photographs):
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(image).save(paths[-1])
    assert fit_pristine(paths, tmp_path / "again.npz").read_bytes() == fitted.read_bytes()


def test_too_few_blocks_and_wrong_photographs_are_refused(tmp_path):
    with pytest.raises(MetricError, match="more than 36 sharp blocks"):
        fit_pristine([data.chelsea()[:192, :192]], tmp_path / "own.npz")
    with pytest.raises(MetricError, match="0 photographs have 0"):
        fit_pristine([], tmp_path / "own.npz")
    with pytest.raises(MetricError, match="uint8"):
        fit_pristine([data.chelsea() / 255], tmp_path / "own.npz")
    assert not (tmp_path / "own.npz").exists()


@pytest.mark.parametrize("content", ["garbage", "other arrays", "other shapes", "not finite", "a pickle"])
def test_a_file_that_is_no_model_is_refused_when_the_run_is_planned(content, tmp_path):
    path = tmp_path / "own.npz"
    if content == "garbage":
        path.write_bytes(b"PK garbage")
    elif content == "other arrays":
        np.savez(path, mean=np.zeros(36))
    elif content == "other shapes":
        np.savez(path, mu_pris_param=np.zeros(18), cov_pris_param=np.zeros((18, 18)))
    elif content == "not finite":
        np.savez(path, mu_pris_param=np.full(36, np.nan), cov_pris_param=np.eye(36))
    elif content == "a pickle":
        np.savez(path, mu_pris_param=np.array([object()]), cov_pris_param=np.eye(36))
    with pytest.raises(WeightsError, match=r"own\.npz is no pristine model"):
        plan_metrics([f"niqe:model={path}"])


def test_a_file_that_is_not_there_is_an_error_of_planning(tmp_path):
    with pytest.raises(WeightsError, match=r"own\.npz does not exist: name a file for niqe:model=FILE"):
        plan_metrics([f"niqe:model={tmp_path / 'own.npz'}"])


def test_two_models_at_once_are_refused(fitted, photographs, tmp_path):
    other = fit_pristine([*photographs, data.rocket()], tmp_path / "other.npz")
    with pytest.raises(SpecError, match="'niqe_fitted' is asked for with two files"):
        plan_metrics([f"niqe:model={fitted}", f"niqe:model={other}"])

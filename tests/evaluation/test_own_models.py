"""Metrics that depend on a file of the user's own, over several calls on one run."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from skimage import data

import rdp
from rdp.errors import RunFolderError
from rdp.metrics.niqe import fit_pristine


def test_scores_of_two_models_never_share_a_run_not_even_by_making_rows_anew(tmp_path, monkeypatch):
    tiles = [
        np.ascontiguousarray(image[top : top + 192, left : left + 192])
        for image in (data.astronaut(), data.coffee())
        for top in range(0, image.shape[0] - 191, 96)
        for left in range(0, image.shape[1] - 191, 96)
    ]
    (tmp_path / "photos").mkdir()
    Image.fromarray(data.chelsea()[:192, :192]).save(tmp_path / "photos" / "cat.png")
    one, other = fit_pristine(tiles, tmp_path / "one.npz"), fit_pristine(tiles[:-1], tmp_path / "other.npz")
    monkeypatch.setenv("RDP_HOME", str(tmp_path))
    monkeypatch.setenv("RDP_WEIGHTS", str(tmp_path))

    def evaluate(metrics: list[str], **options: object) -> rdp.Run:
        codecs = "jpeg:quality=50"
        return rdp.evaluate(tmp_path / "photos", codecs, metrics, tmp_path / "run", jobs=1, **options)

    value = evaluate(["mse", f"niqe:model={one}"]).table().numpy("niqe_fitted")
    assert value[0] > 0
    with pytest.raises(RunFolderError, match="holds niqe_fitted with other settings"):
        evaluate(["mse", f"niqe:model={other}"])
    # The file that is found by its name is the wrong one: the score is missing and says why.
    (tmp_path / "niqe_fitted.npz").write_bytes(other.read_bytes())
    with pytest.warns(RuntimeWarning, match="not those that the run was scored with"):
        again = evaluate(["mse"], redo=["*"])
    assert np.isnan(again.table().numpy("niqe_fitted")[0]) and again.table().numpy("mse")[0] > 0
    (tmp_path / "niqe_fitted.npz").write_bytes(one.read_bytes())
    again = evaluate(["niqe_fitted"], retry_failed=True)
    assert again.table().numpy("niqe_fitted") == pytest.approx(value)

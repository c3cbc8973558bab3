"""The scripts of the studies of the shipped weights, from networks to tables, on tiny ones with random weights."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from rdp.errors import TableError

TRAINING = {
    "task": {
        "class_path": "rdp.training.RateDistortion",
        "init_args": {"lmbda": 0.01, "distortion": {"class_path": "rdp.training.MeanSquaredError"}},
    }
}
"""What a file of weights notes of its training, as far as refinement asks for it."""


@pytest.fixture
def tiny(tmp_path, picture):
    """A folder with two images of 176 pixels, and a file that lists tiny networks."""
    import torch

    from rdp.images import write_png
    from rdp.models.checkpoint import save_model
    from rdp.models.registry import create_model

    (tmp_path / "images").mkdir()
    for name in ("a.png", "b.png"):
        write_png(tmp_path / "images" / name, picture(176, 176))
    text = ""
    for architecture, names in {
        "hyperprior": range(1, 5),
        "factorized": ("gdn-1", "gdn-2", "relu-1", "relu-2"),
    }.items():
        for seed, name in enumerate(names):
            torch.manual_seed(seed)
            options = {"activation": name[:-2]} if architecture == "factorized" else {}
            latent = 8 + 4 * seed if architecture == "hyperprior" else 8
            network = create_model(architecture, channels=8, latent_channels=latent, **options)
            save_model(tmp_path / f"{architecture}-{name}.safetensors", network, {"training": json.dumps(TRAINING)})
    text += "[[hyperprior]]\nquality = [1, 2, 3, 4, 5]\n"
    text += 'point = "checkpoint:path={folder}/hyperprior-{quality}.safetensors"\n'
    text += '[[factorized]]\nactivation = ["relu", "gdn"]\nseed = [1, 2]\nlmbda = 0.01\n'
    text += 'point = "checkpoint:path={folder}/factorized-{activation}-{seed}.safetensors"\n'
    (tmp_path / "models.toml").write_text(text)
    arguments = {"images": "images", "run": "run", "out": "out", "models": "models.toml", "weights": "none"}
    given = [part for name, value in arguments.items() for part in (f"--{name}", str(tmp_path / value))]
    return tmp_path, [*given, "--jobs", "1"]


@pytest.mark.slow
def test_the_hyperprior_study_runs_on_whatever_networks_there_are(script, tiny, capsys) -> None:
    folder, arguments = tiny
    anchors = {"jpeg": ["jpeg:quality=10|30|60|90,optimise=true"]}
    script("hyperprior").main([*arguments, "--refine", "1"], anchors)
    assert "hyperprior-5.safetensors" in capsys.readouterr().out
    points = pd.read_csv(folder / "out" / "hyperprior_points.csv")
    counts = points.curve.value_counts()
    assert list(counts.loc[["jpeg", "hyperprior", "hyperprior, refine=1", "quality 4, steps"]]) == [4, 4, 4, 5]
    assert all("refine=1" in point for point in points.point[points.curve == "hyperprior, refine=1"])
    assert set(points.images) == {2}
    ours = points[points.curve == "hyperprior"].set_index("point")
    steps = points[points.curve == "quality 1, steps"].set_index("point")
    assert ours.bpp.iloc[0] == steps.bpp[ours.index[0]]
    bd = pd.read_csv(folder / "out" / "hyperprior_bd.csv")
    assert list(bd.curve) == ["hyperprior", "hyperprior, refine=1"]
    assert list(bd[["anchor", "anchor_points", "our_points"]].iloc[0]) == ["jpeg", 4, 4]
    assert (folder / "out" / "hyperprior.png").stat().st_size > 1000


@pytest.mark.slow
def test_the_study_of_activations_runs_from_networks_to_tables(script, tiny) -> None:
    folder, arguments = tiny
    script("factorized").main([*arguments, "--repeats", "1"])
    points = pd.read_csv(folder / "out" / "factorized_points.csv")
    assert len(points) == 4 * 4
    cost = pd.read_csv(folder / "out" / "factorized_cost.csv").set_index("activation")
    own = points[(points.activation == "relu") & points.point.str.endswith("step=1")]
    assert cost.cost["relu"] == pytest.approx((own.bpp + 0.01 * own.mse).mean(), rel=1e-6)
    assert list(pd.read_csv(folder / "out" / "factorized_bd.csv").activation) == ["gdn", "relu"]
    times = pd.read_csv(folder / "out" / "factorized_time.csv").set_index("activation")
    assert times.encode_ratio["gdn"] == 1


def test_a_study_without_any_of_its_networks_says_so(script, tmp_path) -> None:
    models = tmp_path / "models.toml"
    models.write_text("")
    for name in ("hyperprior", "hific", "rate_targeted", "shrinkage", "factorized"):
        with pytest.raises(TableError, match="on this machine"):
            script(name).main(["--models", str(models), "--weights", str(tmp_path / "none")])

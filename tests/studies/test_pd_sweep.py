"""The study of decoders along the perception-distortion curve: its numbers on tables whose answer is known."""

from __future__ import annotations

import argparse
import importlib
import itertools
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

from rdp.errors import SpecError, TableError

STUDIES = Path(__file__).resolve().parents[2] / "studies"
FOLDER = STUDIES / "pd_sweep"
PLAN = """
teacher = "lpips_squeeze"
gammas = ["1e-3", "1e-4"]
[[base]]
rate = [1, 2]
point = "hyperprior:weights=mbt2018-mean-mse,quality={rate}"
"""


@pytest.fixture(scope="module")
def sweep_script() -> Iterator[Callable[[str], ModuleType]]:
    """Gives a script of studies/pd_sweep by its name."""
    before, path = set(sys.modules), list(sys.path)
    sys.path.insert(0, str(FOLDER))
    yield importlib.import_module
    sys.path[:] = path
    for file in FOLDER.glob("*.py"):
        if file.stem not in before:
            sys.modules.pop(file.stem, None)


@pytest.fixture
def swept(sweep_script, tmp_path):
    """Makes a set of images: `values` gives columns (one number an image) for a rate and a decoder."""
    sweep = sweep_script("sweep")
    (tmp_path / "plan.toml").write_text(PLAN)
    plan = sweep.read_plan(tmp_path / "plan.toml")

    def make(values):
        rows = []
        for point in plan.points:
            columns = values(point.rate, point.decoder)
            for k in range(len(columns["psnr"])):
                fixed = {"dataset": "d", "image": f"{k}.png", "point": point.name, "width": 100, "height": 80}
                ids = {"encoder_id": f"e{point.rate}", "decoder_id": point.name, "file_sha256": f"{point.rate}-{k}"}
                rows.append({**fixed, **ids, "status": "ok", **{name: column[k] for name, column in columns.items()}})
        frame = pd.DataFrame(rows)
        frame["nbytes"] = frame.bpp * 1000
        options = argparse.Namespace(resamples=20, seed=0, budgets=3, rates=None, encode_anew=False)
        metrics = ("psnr", "ssim", "ms_ssim", "lpips_squeeze", "haarpsi")
        return sweep.Swept("d", tmp_path, plan, metrics, None, frame, options)

    return make


def curve(rate: str, decoder: str) -> dict[str, list[float]]:
    """A knee at g1e-3: most of the LPIPS for little PSNR; the rates differ in the bars that they reach."""
    place = ["mse", "g1e-3", "g1e-4"].index(decoder)
    psnr, lpips = [0.0, -0.2, -1.0][place], [0.3, 0.24 if rate == "1" else 0.27, 0.23 if rate == "1" else 0.265][place]
    return {
        "bpp": [0.1 * int(rate)] * 4, "psnr": [30 + psnr, 32 + psnr, 28 + psnr, 30 + psnr],
        "ssim": [0.9 + 0.01 * psnr] * 4, "ms_ssim": [0.95] * 4, "lpips_squeeze": [lpips] * 4,
        "haarpsi": [0.8 + 0.02 * place, 0.8, 0.8 + 0.01 * place, 0.9 + 0.01 * place],
    }  # fmt: skip


# ---- points


def test_the_shipped_list_has_four_rates_and_at_least_five_gammas(sweep_script) -> None:
    sweep = sweep_script("sweep")
    plan = sweep.read_plan(FOLDER / "decoders.toml")
    assert len(plan.bases) >= 4
    for base in plan.bases:
        assert base.own.decoder == "mse"
        assert len(base.of("trained")) >= 6
        assert {point.kind for point in base.points} == {"trained", "pictures", "weights"}
    assert len({point.spec for point in plan.points}) == len(plan.points)


def test_a_list_without_a_teacher_is_refused(sweep_script, tmp_path) -> None:
    (tmp_path / "a.toml").write_text('gammas = ["0"]\n')
    with pytest.raises(SpecError, match="teacher"):
        sweep_script("sweep").read_plan(tmp_path / "a.toml")


def test_a_teacher_that_is_better_where_it_is_higher_is_refused(sweep_script) -> None:
    with pytest.raises(SpecError, match="haarpsi"):
        sweep_script("sweep").metrics_of("haarpsi")


def test_networks_without_any_decoder_are_no_study(sweep_script, tmp_path, capsys) -> None:
    sweep = sweep_script("sweep")
    (tmp_path / "a.toml").write_text('teacher = "lpips_squeeze"\ngammas = ["0"]\n[[base]]\nrate = 1\npoint = "hific"\n')
    with pytest.raises(TableError, match="on this machine"):
        sweep.present(sweep.read_plan(tmp_path / "a.toml"))
    assert "left out: hific" in capsys.readouterr().out


def test_files_that_are_not_those_of_the_own_decoder_are_counted(sweep_script, swept) -> None:
    one = swept(curve)
    base = one.plan.bases[0]
    one.frame.loc[one.frame.index[one.frame.point == base.points[1].name][0], "file_sha256"] = "another"
    found = sweep_script("sweep").identical_files(one, base)
    assert found == {"mse": "4 of 4", "g1e-3": "3 of 4", "g1e-4": "4 of 4"}


def test_means_of_points_are_those_of_their_rows(sweep_script, swept) -> None:
    table = sweep_script("sweep").points_table(swept(curve), {}, {})
    assert len(table) == 6
    assert list(table.psnr) == pytest.approx([30, 29.8, 29] * 2)
    assert list(table.images) == [4] * 6


def test_two_sets_of_images_of_one_name_are_refused(sweep_script, tmp_path) -> None:
    folders = [str(tmp_path / part / "kodak") for part in "ab"]
    with pytest.raises(SpecError, match="called the same"):
        sweep_script("study").main(["--images", folders[0], "--more", folders[1], "--weights", str(tmp_path / "none")])


# ---- knees


def test_the_knee_and_its_bars_follow_from_the_curve(sweep_script, swept) -> None:
    knees = sweep_script("knees")
    one = swept(curve)
    found = knees.find_knees(one, "psnr")
    assert [knee.chord.decoder for knee in found] == ["g1e-3", "g1e-3"]
    table = knees.knees_table(one, found, knees.judges_table(one, found, {}))
    assert list(table.lpips_reduction_percent) == pytest.approx([20, 10])
    assert list(table.psnr_loss_db) == pytest.approx([0.2, 0.2])
    assert list(table.bars_reached) == ["yes", "no"]
    assert list(table.share_percent) == [100, 100]
    # The same on all images: the interval is a point.
    assert table.reduction_low[0] == pytest.approx(20)
    assert table.loss_high[0] == pytest.approx(0.2)


def test_a_judge_improves_only_if_its_interval_says_so(sweep_script, swept) -> None:
    knees = sweep_script("knees")

    def with_noise(rate, decoder):
        values = curve(rate, decoder)
        if rate == "2" and decoder != "mse":
            values["haarpsi"] = [0.9, 0.7, 0.9, 0.8]
        return values

    one = swept(with_noise)
    found = knees.find_knees(one, "psnr")
    judged = knees.judges_table(one, found, {}).set_index(["rate", "metric"])
    assert judged.verdict["1", "lpips_squeeze"] == "better"
    assert judged.verdict["1", "psnr"] == "worse"
    assert judged.verdict["2", "haarpsi"] == "undecided"
    assert judged.change["1", "haarpsi"] == pytest.approx((0.02 + 0 + 0.01 + 0.01) / 4)
    assert judged.role["1", "haarpsi"] == "judge"
    assert list(knees.knees_table(one, found, judged.reset_index()).a_judge_improves) == [
        "yes" if judged.verdict[rate, "haarpsi"] == "better" else "no" for rate in ("1", "2")
    ]


def test_a_dominated_decoder_is_named_with_what_beats_it_and_sets_no_knee(sweep_script, swept) -> None:
    knees = sweep_script("knees")

    def bent_back(rate, decoder):
        values = curve(rate, decoder)
        return {**values, "lpips_squeeze": [0.4] * 4} if decoder == "g1e-4" else values

    one = swept(bent_back)
    front, beaten = knees.front_of(one, one.plan.bases[0], "psnr")
    assert [point.decoder for point in front] == ["mse", "g1e-3"]
    assert list(beaten.values()) == ["", "", "mse, g1e-3"]
    found = knees.find_knees(one, "psnr")
    table = knees.knees_table(one, found, knees.judges_table(one, found, {}))
    assert list(table.knee) == ["none", "none"]
    assert all("fewer than three" in note for note in table.note)


# ---- rate and decoder together


def test_the_selections_are_the_best_of_all_that_there_are(sweep_script, swept, rng, monkeypatch) -> None:
    joint = sweep_script("joint")
    monkeypatch.setattr(joint, "GAP", 1e-9)
    bpp = {"1": rng.uniform(0.1, 0.2, 3), "2": rng.uniform(0.25, 0.4, 3)}

    def values(rate, decoder):
        place = ["mse", "g1e-3", "g1e-4"].index(decoder)
        psnr = 28 + 2 * int(rate) - rng.uniform(0.5, 1.5, 3) * place
        lpips = 0.4 - 0.05 * int(rate) - rng.uniform(0.01, 0.08, 3) * place
        return {
            "bpp": bpp[rate],
            "psnr": psnr,
            "lpips_squeeze": lpips,
            **dict.fromkeys(("ssim", "ms_ssim", "haarpsi"), psnr),
        }

    one = swept(values)
    one.options.rates = [0.25]
    (answers,) = joint.solve_all(one)
    points = list(one.plan.points)
    tables = {
        column: np.array([one.frame[one.frame.point == point.name][column] for point in points])
        for column in ("bpp", "psnr", "lpips_squeeze")
    }
    names = {"joint": math.log2(3) / (100 * 80), "rate only": 0.0}
    for method, bits in names.items():
        allowed = [k for k, point in enumerate(points) if method == "joint" or point.decoder == "mse"]
        choices = np.array(list(itertools.product(allowed, repeat=3)))
        means = {column: table[choices, np.arange(3)].mean(axis=1) for column, table in tables.items()}
        for budget, found in zip(answers.budgets, answers.of(method), strict=True):
            kept = (means["bpp"] + bits <= 0.25) & (means["lpips_squeeze"] <= budget * (1 + 1e-12))
            best = means["psnr"][kept].max() if kept.any() else None
            assert (found.objective is None) == (best is None), (method, budget)
            if best is not None:
                assert found.objective == pytest.approx(best, abs=1e-6)
    assert answers.joint[0].averages["bpp"] - answers.joint[0].averages_of_files["bpp"] == pytest.approx(names["joint"])


def test_what_cannot_be_selected_is_said_and_gains_nothing(sweep_script, swept) -> None:
    joint = sweep_script("joint")
    one = swept(curve)
    one.options.rates = [0.15, 0.05]
    answers = joint.solve_all(one)
    rows = joint.selections_table(one, answers)
    tight = rows[(rows.rate_budget == 0.15) & (rows.method == "rate only")].sort_values("lpips_budget")
    assert list(tight.status) == ["infeasible", "infeasible", "optimal"]
    assert tight.psnr.isna().tolist() == [True, True, False]
    assert any("no selection keeps to 0.0500" in status for status in rows[rows.rate_budget == 0.05].status)
    gains = joint.gains_table(one, answers)
    assert gains.rate_only_gain_db.isna().tolist() == [True, True, False]
    # The loosest budget is the LPIPS that the own decoders have at this rate.
    assert gains.rate_only_needs_bpp.iloc[-1] <= 0.15 + 1e-9
    assert gains.naming_bits.tolist() == pytest.approx([math.log2(3)] * 3)
    # One decoder for all is the best of all at every budget here, as all images are alike in what decoders do.
    assert (gains.fixed_gain_db.dropna() >= -1e-6).all()


def test_the_gain_at_prices_is_that_of_the_averages_less_what_was_spent(sweep_script, swept, rng) -> None:
    joint = sweep_script("joint")
    lpips = {key: rng.uniform(0.1, 0.3, 6) for key in itertools.product("12", ("mse", "g1e-3", "g1e-4"))}

    def values(rate, decoder):
        place = ["mse", "g1e-3", "g1e-4"].index(decoder)
        psnr = 28 + rng.uniform(1, 3, 6) * int(rate) - rng.uniform(0.1, 0.5, 6) * place
        other = dict.fromkeys(("ssim", "ms_ssim", "haarpsi"), psnr)
        return {
            "bpp": rng.uniform(0.9, 1.1, 6) * int(rate),
            "psnr": psnr,
            "lpips_squeeze": lpips[rate, decoder],
            **other,
        }

    one = swept(values)
    one.options.rates = [1.5]
    (answers,) = joint.solve_all(one)
    pairs = [(a, b) for a, b in zip(answers.joint, answers.fixed, strict=True) if a.found and b.found]
    assert pairs
    for a, b in pairs:
        found = joint.gain_at_prices(a.selection, b.selection, ("bpp", "lpips_squeeze"))
        spent = sum(a.prices[name] * (a.averages[name] - b.averages[name]) for name in ("bpp", "lpips_squeeze"))
        assert found.mean() == pytest.approx(a.objective - b.objective - spent)


# ---- crops


def test_the_crop_is_where_the_pictures_differ_most(sweep_script, picture) -> None:
    crops = sweep_script("crops")
    one = picture(60, 90)
    other = one.copy()
    other[40:48, 64:80] = 255 - other[40:48, 64:80]
    other[3, 3] ^= 1
    top, left = crops.most_different(one, other, 16)
    assert top <= 40 and top + 16 >= 48 and left == 64
    assert crops.most_different(one, one, 200) == (0, 0)


def test_images_are_those_at_the_quartiles(sweep_script) -> None:
    crops = sweep_script("crops")
    assert crops.quartile_images(np.array([5.0, 1.0, 4.0, 2.0, 3.0, 0.0, 6.0, 7.0])) == [1, 4, 0]
    assert crops.quartile_images(np.array([3.0])) == [0]


# ---- all of it


@pytest.mark.slow
def test_the_study_runs_from_networks_and_decoders_to_tables_and_figures(
    sweep_script, shared, tmp_path, picture
) -> None:
    import torch

    from rdp.images import write_png
    from rdp.models.checkpoint import save_model
    from rdp.models.decoders import save_decoder
    from rdp.models.registry import create_model

    (tmp_path / "images").mkdir()
    for name in ("a.png", "b.png"):
        write_png(tmp_path / "images" / name, picture(176, 176))
    for number in (1, 2):
        torch.manual_seed(number)
        network = create_model("hyperprior", channels=8, latent_channels=8)
        header = save_model(tmp_path / f"net{number}.safetensors", network)
        for gamma in ("g1e-3", "g1e-4"):
            with torch.no_grad():
                for parameter in network.synthesis.parameters():
                    parameter.mul_(1.02)
            save_decoder(tmp_path / f"{number}-{gamma}.safetensors", network, gamma, header.identity)
    text = PLAN.replace("hyperprior:weights=mbt2018-mean-mse,quality=", "checkpoint:path={folder}/net")
    (tmp_path / "plan.toml").write_text(
        text.replace("{rate}", "{rate}.safetensors").replace(
            "[[base]]", '[dial]\ngamma = "1e-4"\npictures = ["0.5"]\nweights = []\n[[base]]'
        )
    )
    given = {"images": "images", "run": "run", "out": "out", "models": "plan.toml", "decoders": "."}
    arguments = [part for name, value in given.items() for part in (f"--{name}", str(tmp_path / value))]
    arguments += ["--weights", str(shared / "weights"), "--jobs", "1", "--resamples", "5", "--projections", "4"]
    study = sweep_script("study")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RDP_WEIGHTS", str(shared / "weights"))
        study.main([*arguments, "--budgets", "2"])
    out = tmp_path / "out" / "images"
    points = pd.read_csv(out / "pd_points.csv")
    assert list(points.decoder) == ["mse", "g1e-3", "g1e-4", "mse+0.5*g1e-4"] * 2
    assert set(points.files_identical) == {"2 of 2"}
    assert points.groupby("rate").bpp.nunique().tolist() == [1, 1]
    assert (points.swd.notna() == (points.kind == "trained")).all()
    gains = pd.read_csv(out / "pd_gains.csv").set_index(["rate", "decoder"])
    psnr = points.set_index(["rate", "decoder"]).psnr
    assert gains.psnr_loss_db[1, "g1e-4"] == pytest.approx(psnr[1, "mse"] - psnr[1, "g1e-4"], abs=1e-5)
    for name in ("pd_lpips_psnr", "pd_lpips_ssim", "pd_frontiers"):
        assert (out / f"{name}.png").stat().st_size > 1000

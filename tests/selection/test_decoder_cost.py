"""The choice among the decoders of a file: which bits are added to which cells, and what they change."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import rdp
from rdp.errors import SpecError
from rdp.selection import Problem, build_problem
from rdp.selection.baselines import best_single_point, time_shared_mixture
from rdp.selection.decoder_cost import DecoderCost
from rdp.selection.sampling.subset import take
from rdp.tables import CellTable, read_table

# The points of the table that `frame_of` makes: files of four and of two decoders, and one of a standard codec.
POINTS = ("low:d=0", "low:d=1", "low:d=2", "low:d=3", "high:d=0", "high:d=1", "jpeg")
NBYTES = (2.0, 2.0, 2.0, 2.0, 4.0, 4.0, 3.0)
EXPECTED = np.array([[2.0, 2.0, 2.0, 2.0, 1.0, 1.0, 0.0]] * 2)
Frames = Callable[..., pd.DataFrame]


def problem_of(frame: pd.DataFrame, **words: Any) -> Problem:
    return build_problem(read_table(frame), **({"minimize": "mse"} | words))


def bits_of(problem: Problem) -> np.ndarray:
    assert isinstance(problem.naming, DecoderCost)
    return problem.naming.bits


def order(problem: Problem) -> list[int]:
    """Where each of `POINTS` stands in the problem."""
    return [list(problem.points).index(point) for point in POINTS]


def test_every_cell_is_charged_the_logarithm_of_how_many_decoders_its_file_has(frame_of: Frames) -> None:
    """log2 4 = 2 bits, log2 2 = 1 bit, and none for a file of one decoder; images of 10 and of 40 pixels."""
    charged, plain = problem_of(frame_of()), problem_of(frame_of(), decoder_info=False)
    place = order(charged)
    assert (bits_of(charged)[:, place] == EXPECTED).all()
    assert (charged.terms["nbytes"].values[:, place] == np.array(NBYTES) + EXPECTED / 8).all()
    pixels = np.array([[10.0], [40.0]])
    rates = (8 * np.array(NBYTES) + EXPECTED) / pixels
    assert charged.terms["bpp"].values[:, place] == pytest.approx(rates, rel=1e-14)
    assert plain.terms["bpp"].values[:, place] == pytest.approx(8 * np.array(NBYTES) / pixels, rel=1e-15)
    assert (charged.terms["mse"].values == plain.terms["mse"].values).all()
    assert plain.naming is None and charged.index_cost is None
    words = "bpp and nbytes include log2(D) bits an image for the choice among the D decoders of a file, D from 2 to 4"
    assert charged.warnings == (f"{words} (1 to 2 bits); nothing where a file has one decoder",)
    one = problem_of(frame_of(), points=["low:*"])
    assert one.warnings == (
        "bpp and nbytes include log2(4) = 2 bits an image for the choice among 4 decoders of a file",
    )


@pytest.mark.parametrize(
    ("words", "low"),
    [
        ({"points": ["!low:d=3"]}, [math.log2(3)] * 3 + [0.0]),
        ({"forbid": [("*", "low:d=0"), ("*", "low:d=1")]}, [0.0, 0.0, 1.0, 1.0]),
        ({"fix": {"0.png": "low:d=2"}}, [0.0] * 4),
        # Bounds on each image, and limits on the points, are about charged rates: all four may be chosen.
        ({"each_at_most": {"lpips": 0.65}, "max_points": 2}, [2.0] * 4),
    ],
)
def test_only_decoders_that_may_be_chosen_for_the_image_count(
    frame_of: Frames, words: dict[str, Any], low: list[float]
) -> None:
    problem = problem_of(frame_of(), **words)
    names = list(problem.points)
    found = [bits_of(problem)[0, names.index(p)] if p in names else 0.0 for p in POINTS[:4]]
    assert found == pytest.approx(low)


def test_cells_that_failed_or_lack_a_value_are_no_choice(frame_of: Frames) -> None:
    frame = frame_of()
    frame["status"] = "ok"
    frame.loc[0, "status"] = "failed"
    frame.loc[1, "mse"] = np.nan
    table = read_table(frame)
    column = table.data.column("mse")
    values = [None if value is None or math.isnan(value) else value for value in column.to_pylist()]
    data = table.data.set_column(table.data.column_names.index("mse"), "mse", pa.array(values, pa.float64()))
    problem = build_problem(CellTable(data, table.source), minimize="mse")
    place = order(problem)
    assert bits_of(problem)[:, place].tolist() == [[0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0], EXPECTED[1].tolist()]


def test_points_of_one_file_and_one_decoder_need_no_bits(frame_of: Frames) -> None:
    alike = ["d0", "d0", "d2", "d3", "d4", "d4", "d6"]
    problem = problem_of(frame_of(decoder_id=alike))
    assert bits_of(problem)[:, order(problem)].tolist() == [[math.log2(3)] * 4 + [0.0] * 3] * 2
    without = problem_of(frame_of().drop(columns="decoder_id"))
    assert (bits_of(without)[:, order(without)] == EXPECTED).all()


def test_hashes_of_files_stand_in_where_there_is_no_encoder(frame_of: Frames) -> None:
    frame = frame_of()
    frame["file_sha256"] = frame["image"] + frame["encoder_id"]
    by_hash = problem_of(frame.drop(columns="encoder_id"))
    assert (bits_of(by_hash)[:, order(by_hash)] == EXPECTED).all()
    frame.loc[frame["encoder_id"] == "high", "encoder_id"] = None
    frame.loc[frame["image"] == "1.png", "file_sha256"] += frame["point"]
    mixed = problem_of(frame)
    assert bits_of(mixed)[:, order(mixed)].tolist() == [EXPECTED[0].tolist(), [2.0] * 4 + [0.0] * 3]
    # Two images with the same file share nothing: a file is that of an image.
    frame = frame_of(encoder_id=[None] * 7).assign(file_sha256=[f"f{k}" for k in range(7)] * 2)
    assert problem_of(frame).naming is None


@pytest.mark.parametrize("ids", ["none", "own", "no rate"])
def test_problems_without_shared_files_are_what_they_were(frame_of: Frames, ids: str) -> None:
    """Without the columns, with an encoder a point, and without a rate: no word in the statement, whatever is asked."""
    frame = frame_of()
    plain = frame.drop(columns=["encoder_id", "decoder_id"])
    if ids == "own":
        frame["encoder_id"] = frame["point"]
    elif ids == "no rate":
        frame, plain = frame.drop(columns=["bpp", "nbytes"]), plain.drop(columns=["bpp", "nbytes"])
    else:
        frame = plain
    rate = {} if ids == "no rate" else {"at_most": {"bpp": 1.5}}
    documents = []
    for table, words in ((frame, {}), (frame, {"decoder_info": False}), (plain, {}), (plain, {"decoder_info": True})):
        selection = rdp.solve(table, minimize="mse", at_least={"lpips": 0.3}, **rate, **words)
        assert selection.problem.naming is None
        documents.append({k: v for k, v in selection.to_dict().items() if k != "elapsed_s"})
    assert all(document == documents[0] for document in documents)
    assert "decoder_info" not in json.dumps(documents[0])


def test_side_information_is_charged_in_place_of_the_decoder(frame_of: Frames) -> None:
    """Seven points take 3 bits."""
    both = [problem_of(frame_of(), side_info=True, decoder_info=on) for on in (True, False)]
    for problem in both:
        assert problem.statement.to_dict() == {"minimize": "mse", "side_info": True}
        assert problem.terms["nbytes"].values[:, order(problem)].tolist() == [[n + 3 / 8 for n in NBYTES]] * 2
        assert problem.warnings == ("bpp and nbytes include side information: 3 bits an image (one of 7 points)",)


def test_sizes_must_be_known_where_a_rate_is_charged(frame_of: Frames) -> None:
    frame = frame_of().drop(columns=["width", "height"])
    known = problem_of(frame)
    assert known.terms["bpp"].values == pytest.approx(problem_of(frame_of()).terms["bpp"].values)
    with pytest.raises(SpecError, match=r"share files, .* not known: .* width and height, .* --no-decoder-info"):
        problem_of(frame.drop(columns="nbytes"))
    assert problem_of(frame.drop(columns="nbytes"), decoder_info=False).naming is None
    bytes_alone = problem_of(frame.drop(columns="bpp"))
    assert bytes_alone.terms["nbytes"].values[0, order(bytes_alone)] == pytest.approx(
        np.array(NBYTES) + EXPECTED[0] / 8
    )
    assert bytes_alone.warnings[0].startswith("nbytes includes log2(D)")


# ---- what is solved


@pytest.mark.parametrize("seed", range(12))
def test_the_optimum_is_that_of_exhaustive_search_over_charged_cells(seed: int) -> None:
    """Four images at six points with random encoders and decoders; the search charges by itself, in plain loops."""
    rng = np.random.default_rng([7, seed])
    images, points = 4, 6
    encoder, decoder = rng.integers(0, 3, points), rng.integers(0, 4, points)
    nbytes = rng.integers(20, 60, (images, points))
    pixels = rng.integers(4, 20, images) * 10
    mse = np.exp(rng.normal(3, 1, (images, points)))
    rows = [
        {
            "image": f"{i}.png", "point": f"p{j}", "width": pixels[i], "height": 1, "nbytes": nbytes[i, j],
            "bpp": 8 * nbytes[i, j] / pixels[i], "mse": mse[i, j],
            "encoder_id": f"e{encoder[j]}", "decoder_id": f"d{decoder[j]}",
        }
        for i in range(images)
        for j in range(points)
    ]  # fmt: skip
    sizes = [len({decoder[k] for k in range(points) if encoder[k] == encoder[j]}) for j in range(points)]
    rate = [[(8 * nbytes[i, j] + math.log2(sizes[j])) / pixels[i] for j in range(points)] for i in range(images)]
    budget = float(np.mean(rate) * rng.uniform(0.85, 1.1))
    costs = [
        math.fsum(mse[i, j] for i, j in enumerate(choice)) / images
        for choice in itertools.product(range(points), repeat=images)
        if math.fsum(rate[i][j] for i, j in enumerate(choice)) / images <= budget
    ]
    selection = rdp.solve(pd.DataFrame(rows), minimize="mse", at_most={"bpp": budget})
    assert selection.found is bool(costs)
    if costs:
        assert selection.objective == pytest.approx(min(costs), rel=1e-9)
        taken = [int(selection.chosen[f"{i}.png"][1:]) for i in range(images)]
        mean = math.fsum(rate[i][j] for i, j in enumerate(taken)) / images
        assert selection.averages["bpp"] == pytest.approx(mean, rel=1e-12)
        assert selection.budgets[0].average == selection.averages["bpp"]
        files = math.fsum(8 * nbytes[i, j] / pixels[i] for i, j in enumerate(taken)) / images
        assert (selection.averages_of_files or selection.averages)["bpp"] == pytest.approx(files, rel=1e-12)
        total = math.fsum(8 * nbytes[i, j] + math.log2(sizes[j]) for i, j in enumerate(taken))
        assert abs(selection.total_bits - total) <= 0.5 + 1e-9


def test_a_budget_that_the_files_keep_and_their_decoders_pass(frame_of: Frames) -> None:
    """The files of `low` have 16 bits: (1.6 + 0.4) / 2 = 1 bit/pixel. With 2 bits each it is 1.125."""
    words = {"minimize": "lpips", "points": ["low:*"]}
    assert rdp.solve(frame_of(), at_most={"bpp": 1.0}, decoder_info=False, **words).found
    missed = rdp.solve(frame_of(), at_most={"bpp": 1.12}, **words)
    assert missed.status == "infeasible" and "1.125" in missed.explanation
    kept = rdp.solve(frame_of(), at_most={"bpp": 1.125}, **words)
    assert kept.averages["bpp"] == pytest.approx(1.125)
    assert kept.bound == pytest.approx(kept.objective)


def test_the_part_of_a_problem_keeps_the_bits_of_its_images(frame_of: Frames) -> None:
    whole = problem_of(frame_of(4))
    part = take(whole, np.array([3, 0, 3]))
    assert (bits_of(part) == bits_of(whole)[[3, 0, 3]]).all()
    choice = np.array([order(part)[4], order(part)[0], order(part)[6]])
    assert isinstance(part.naming, DecoderCost)
    assert part.naming.at("bpp", choice).tolist() == [1 / 40, 2 / 10, 0.0]
    assert part.naming.at("mse", choice).tolist() == [0.0, 0.0, 0.0]
    assert part.naming.plain["bpp"] + bits_of(part) * np.array([[1 / 40], [1 / 10], [1 / 40]]) == pytest.approx(
        part.terms["bpp"].values
    )


def test_one_point_for_all_images_needs_no_bits_and_a_mixture_does(frame_of: Frames) -> None:
    problem = problem_of(frame_of(), points=["low:*", "high:*"], at_most={"bpp": 1.0})
    single = best_single_point(problem)
    assert single.shares == {"low:d=0": 1.0} and single.once
    assert single.averages["bpp"] == single.bounded[0] == pytest.approx(1.0)
    assert single.averages["nbytes"] == 2.0
    mixture = time_shared_mixture(problem, {"bpp": 1.5})
    # The one point has 1.125 with its bits, the other (33 / 10 + 33 / 40) / 2 = 2.0625.
    assert mixture.shares == pytest.approx({"low:d=0": 0.6, "high:d=0": 0.4})
    assert mixture.averages["bpp"] == pytest.approx(1.5) and not mixture.once
    # With its bit the file of 32 bits passes the bound of the image of 10 pixels; told once, it keeps it exactly.
    bounded = problem_of(frame_of(), points=["high:*", "jpeg"], each_at_most={"bpp": 3.2})
    assert bounded.allowed.tolist() == [[False, False, True], [True, True, True]]
    assert best_single_point(bounded).shares == {"high:d=0": 1.0}
    # Two points have to be told: the free image has 2 bits, the fixed one none. One point for both has none at all.
    words = {"points": ["low:*"], "fix": {"0.png": "low:d=1"}}
    two = best_single_point(problem_of(frame_of(), at_most={"bpp": 1.1}, **words))
    assert two.shares == {"low:d=0": 1.0} and not two.once and two.averages["bpp"] == pytest.approx((1.6 + 0.45) / 2)
    one = best_single_point(problem_of(frame_of(), at_most={"bpp": 1.0}, **words))
    assert one.shares == {"low:d=1": 1.0} and one.once and one.averages["bpp"] == pytest.approx(1.0)

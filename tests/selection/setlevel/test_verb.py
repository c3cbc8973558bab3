"""The verb on tables, and the document."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from rdp.selection import Status
from rdp.selection.setlevel.verb import solve_set_level


@pytest.fixture
def frame() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    rows = []
    for image in range(6):
        for point in range(4):
            rows.append(
                {"dataset": "set", "image": f"{image}.png", "point": f"webp:quality={point + 1}", "width": 10,
                 "height": 10 * (image + 1), "bpp": 0.1 + 0.2 * point + 0.02 * image, "nbytes": 100.0 * (point + 1),
                 "psnr": 30.0 + point + rng.random()}
            )  # fmt: skip
    return pd.DataFrame(rows)


def test_a_distance_is_minimised_within_budgets_of_columns(frame, means) -> None:
    scorer = means(3, 6, 4, dimensions=10)
    found = solve_set_level(
        frame, {"kid": scorer}, minimize="kid", at_most={"bpp": 0.5}, at_least={"psnr": 31.0},
        weights={"bpp": "pixels"},
    )  # fmt: skip
    assert found.objective == pytest.approx(scorer.of(found.choice))
    assert found.score == pytest.approx(scorer.score(found.choice))
    chosen = frame.set_index(["image", "point"]).loc[[(i, p) for i, p in found.chosen.items()]]
    pixels = chosen.width * chosen.height
    rate = float((chosen.bpp * pixels).sum() / pixels.sum())
    assert rate <= 0.5 + 1e-9 and chosen.psnr.mean() >= 31.0
    assert found.averages["bpp"] == pytest.approx(rate)
    assert found.averages["psnr"] == pytest.approx(float(chosen.psnr.mean()))


def test_a_column_is_minimised_within_a_budget_of_a_distance(frame, means) -> None:
    scorer = means(3, 6, 4, dimensions=10)
    least = solve_set_level(frame, {"kid": scorer}, minimize="kid").objective
    found = solve_set_level(frame, {"kid": scorer}, minimize="bpp", at_most={"kid": 2 * least})
    assert scorer.of(found.choice) <= 2 * least
    assert found.averages["kid"] == pytest.approx(scorer.of(found.choice))
    assert found.prices["kid"] >= 0


def test_a_scorer_is_made_for_the_points_that_patterns_leave(frame, means) -> None:
    asked = []

    def make(problem):
        asked.append((len(problem.images), tuple(problem.points)))
        return means(3, 6, 2, dimensions=10)

    found = solve_set_level(frame, {"kid": make}, minimize="kid", points=["webp:quality=1", "webp:quality=3"])
    assert asked == [(6, ("webp:quality=1", "webp:quality=3"))]
    assert set(found.chosen.values()) <= {"webp:quality=1", "webp:quality=3"}


@pytest.mark.parametrize("words", [{"minimize": "kid", "at_most": {"bpp": 0.5}}, {"minimize": "bpp"}])
def test_the_document_is_json_and_says_what_the_bound_covers(frame, means, words, tmp_path) -> None:
    scorer = means(3, 6, 4, dimensions=10)
    words = words if words["minimize"] == "kid" else words | {"at_most": {"kid": 10.0}}
    found = solve_set_level(frame, {"kid": scorer}, **words)
    document = json.loads(found.save(tmp_path / "selection.json").read_text())
    assert document["status"] in ("optimal", "feasible")
    assert document["objective"]["average"] == found.objective and document["objective"]["bound"] == found.bound
    assert document["problem"]["statement"]["minimize"] == words["minimize"]
    entry = document["set_level"]
    assert "of kid " in entry["covers"] and "V-statistic" in entry["covers"] and "unbiased" in entry["covers"]
    (value,) = entry["values"]
    assert value["convex_form"] == pytest.approx(scorer.of(found.choice))
    assert value["score"] == pytest.approx(scorer.score(found.choice)) and value["score"] != value["convex_form"]
    assert value["facts"] == {"dimensions": 10, "convex_form": "biased"}
    assert len(document["chosen"]) == 6
    assert set(found.summary().index) >= {"kid", "bpp", "psnr"}


def test_the_text_of_the_command_line_shows_it(frame, means) -> None:
    from rdp.cli.solve_text import describe

    found = solve_set_level(frame, {"kid": means(3, 6, 4)}, minimize="kid", at_most={"bpp": 0.5})
    assert found.status in (Status.OPTIMAL, Status.FEASIBLE)
    assert "kid" in describe(found) and "bpp" in describe(found)

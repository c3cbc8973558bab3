"""Words and arrays of a wrong type are refused by name, before anything is solved."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from rdp.errors import SpecError, TableError
from rdp.selection import Problem, solve
from rdp.tables import CellTable


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": "pixels"}, "weights must map columns"),
        ({"weights": {5: "pixels"}}, "weights must map columns .* 5 is not a text"),
        ({"fix": {"a.png": 5}}, "fix 'a.png': 5 is not a text"),
        ({"fix": {5: "png"}}, "fix must map images to points"),
        ({"fix": 5}, "fix must be a list of texts"),
        ({"fix": [5]}, "5 is none"),
        ({"forbid": [5]}, "forbid: 5 is not an"),
        ({"forbid": 5}, "forbid must be a list"),
        ({"points": [5]}, "points must be a list of texts; 5 is none"),
        ({"solver": None}, "solver must be a name, one of auto, .*, not None"),
        ({"columns": ["a"]}, "columns must map our column names to yours"),
        ({"columns": {"a": 5}}, "columns 'a': 5 is not a text"),
        ({"minimize": ["mse"]}, r"minimize must be the name of one column, such as 'mse', not \['mse'\]"),
        ({"at_most": {5: 1}}, "at_most must map columns to numbers"),
        ({"at_most": {"bpp": 10**400}}, "is not a finite number"),
        ({"cap": 60}, "cap must map columns to numbers"),
    ],
)
def test_words_of_a_wrong_type_are_refused_by_name(table: CellTable, options: Mapping, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        solve(table, **{"minimize": "mse", **options})


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ({"mse": [[1.0, 2.0], [3.0]]}, {}, "the array 'mse' cannot be used: numbers are needed, in rows of equal"),
        ({"mse": [["a", "b"]]}, {}, "the array 'mse' cannot be used: numbers are needed"),
        ({"mse": [[None, {}]]}, {}, "the array 'mse' cannot be used"),
        ([[1.0]], {}, "columns must map names to arrays"),
        ({"mse": [[1.0], [2.0]]}, {"images": "ab"}, "images must be a list of 2 names, not 'ab'"),
        ({"mse": [[1.0, 2.0]]}, {"points": "ab"}, "points must be a list of 2 names, not 'ab'"),
        ({"mse": [[1.0, 2.0]]}, {"points": 5}, "points must be a list of 2 names, not 5"),
        ({"mse": [[1.0, 2.0]]}, {"points": [1, 2]}, "points must be a list of texts; 1 is none"),
        ({"mse": [[1.0], [2.0]]}, {"allowed": [[True], [True, False]]}, "allowed must be booleans"),
        (
            {"mse": [[1.0], [2.0]]},
            {"weights": {"mse": "pixels"}, "pixels": ["a", "b"]},
            "pixels cannot be used: numbers are needed",
        ),
    ],
)
def test_arrays_of_a_wrong_type_are_refused_by_name(columns: Mapping, options: Mapping, message: str) -> None:
    with pytest.raises(TableError, match=message):
        Problem.from_arrays(columns, minimize="mse", **options)

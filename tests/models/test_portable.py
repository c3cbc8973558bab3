"""Portable functions: as accurate as they say, made of nothing that rounds by machine, and the same bits everywhere."""

from __future__ import annotations

import ast
import inspect
import os
import subprocess
import sys
from collections.abc import Callable

import mpmath
import numpy as np
import pytest
import torch

from rdp.models import laws, portable

ULP = 2.0**-53
REFERENCES: dict[str, tuple[Callable, float]] = {
    "exp": (mpmath.exp, 2),
    "expm1": (mpmath.expm1, 4),
    "log": (mpmath.log, 2),
    "log1p": (mpmath.log1p, 4),
    "tanh": (mpmath.tanh, 6),
    "sigmoid": (lambda x: 1 / (1 + mpmath.exp(-x)), 5),
    "softplus": (lambda x: mpmath.log1p(mpmath.exp(x)), 6),
    "normal_cdf": (lambda x: mpmath.erfc(-x / mpmath.sqrt(2)) / 2, 1e-14 / ULP),
}
LOWEST = {"log": 0, "log1p": -1, "normal_cdf": -37}
# Each of these is rounded to the last bit by IEEE 754, is exact, or moves numbers about.
ALLOWED = {
    *("abs", "arange", "array", "asarray", "bool_", "concatenate", "count_nonzero", "cumsum", "dtype", "float64"),
    *("floor", "full", "inf", "int64", "isfinite", "maximum", "minimum", "nan", "ndarray", "ones_like", "repeat"),
    *("shape", "split", "where", "zeros_like"),
}


def arguments(name: str) -> np.ndarray:
    """Small and large arguments of both signs, as far as the function goes."""
    rng = np.random.default_rng(4)
    signs = rng.choice([-1, 1], 400)
    x = np.concatenate([rng.uniform(-689, 689, 400), rng.normal(0, 2, 600), np.exp(rng.uniform(-300, 0, 400)) * signs])
    if name.startswith("log"):
        x = np.concatenate([x, np.exp(rng.uniform(-600, 700, 400)), 1 + rng.uniform(-1e-9, 1e-9, 100)])
    return x[x > LOWEST.get(name, -np.inf)]


@pytest.mark.parametrize("name", REFERENCES)
def test_functions_are_as_accurate_as_they_say(name: str) -> None:
    """The reference: mpmath at 120 bits."""
    reference, bound = REFERENCES[name]
    x = arguments(name)
    with mpmath.workprec(120):
        exact = [reference(mpmath.mpf(value)) for value in x.tolist()]
        errors = [abs((mpmath.mpf(v) - e) / e) for v, e in zip(getattr(portable, name)(x).tolist(), exact, strict=True)]
    assert float(max(errors)) < bound * ULP


def test_the_normal_law_keeps_its_precision_in_the_tail() -> None:
    assert portable.normal_cdf([-8.0, -20.0, -37.0]) == pytest.approx(
        [6.220960574271784e-16, 2.753624118606235e-89, 5.725571222524587e-300], rel=1e-14
    )


def test_values_at_the_ends_are_the_limits() -> None:
    ends = np.array([-np.inf, -1e308, -1e-320, 0.0, 1e-320, 1e308, np.inf])
    with np.errstate(over="raise", divide="raise", invalid="raise"):
        assert portable.exp(ends).tolist() == [0, 0, 1, 1, 1, np.inf, np.inf]
        assert portable.expm1(ends).tolist() == [-1, -1, 0, 0, 0, np.inf, np.inf]
        assert portable.tanh(ends).tolist() == [-1, -1, 0, 0, 0, 1, 1]
        assert portable.sigmoid(ends).tolist() == [0, 0, 0.5, 0.5, 0.5, 1, 1]
        assert portable.softplus(ends).tolist() == pytest.approx([0, 0, np.log(2), np.log(2), np.log(2), 1e308, np.inf])
        assert portable.normal_cdf(ends).tolist() == [0, 0, 0.5, 0.5, 0.5, 1, 1]
        assert portable.log([0.0, 1.0, np.inf]).tolist() == [-np.inf, 0, np.inf]
        assert portable.log1p([-1.0, 0.0, np.inf]).tolist() == [-np.inf, 0, np.inf]
        assert np.isnan(portable.log([-1.0])).all()


def test_shapes_are_kept() -> None:
    for name in REFERENCES:
        function = getattr(portable, name)
        assert function(0.5).shape == ()
        grid = np.full((2, 3), 0.5)
        assert function(grid).shape == (2, 3) and (function(grid) == function(0.5)).all()
        assert function(np.array([])).shape == (0,)


@pytest.mark.parametrize("module", [portable, laws], ids=lambda module: module.__name__)
def test_nothing_is_used_that_rounds_by_machine(module) -> None:
    """NumPy's exp and its relatives, sums, matrix products and powers of variables differ between builds."""
    tree = ast.parse(inspect.getsource(module))
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "np":
            assert node.attr in ALLOWED, f"np.{node.attr} in line {node.lineno}"
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "math":
            assert node.attr in {"inf", "sqrt"}, f"math.{node.attr} in line {node.lineno}"
        if isinstance(node, ast.Attribute):
            assert node.attr not in {"sum", "mean", "dot", "prod", "std", "var"}, f".{node.attr} in line {node.lineno}"
        if isinstance(node, ast.BinOp):
            assert not isinstance(node.op, ast.MatMult), f"@ in line {node.lineno}"
            if isinstance(node.op, ast.Pow):
                assert isinstance(node.left, ast.Constant), f"** in line {node.lineno}"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in {"sum", "pow"}, f"{node.func.id}() in line {node.lineno}"


DIGEST = """
import hashlib, numpy as np
from rdp.models import portable
whole = np.arange(-60000, 60001)
x = np.concatenate([whole / 4096.0, whole / 97.0, whole / 2.0**60])
digest = hashlib.sha256()
for name in {names}:
    digest.update(getattr(portable, name)(np.abs(x) if name.startswith("log") else x).astype("<f8").tobytes())
print(digest.hexdigest())
"""
EXPECTED = "1bbfeb5fcb1b4b6c617c86c80d9f997ed04df7b9568d8d1cd8e51db512a9833d"


def digest_under(environment: dict[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, "-c", DIGEST.format(names=sorted(REFERENCES))],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | environment,
    )
    return done.stdout.strip()


def test_the_bits_are_those_of_every_other_machine() -> None:
    """360,000 values of each function: their digest was taken once."""
    assert digest_under({}) == EXPECTED


def test_the_bits_do_not_depend_on_the_instructions_that_numpy_uses() -> None:
    from numpy._core import _multiarray_umath as core

    optional = [name for name in core.__cpu_dispatch__ if core.__cpu_features__.get(name)]
    if not optional:
        pytest.skip("NumPy has no optional instructions on this processor")
    environment = {"NPY_DISABLE_CPU_FEATURES": " ".join(optional)}
    assert digest_under(environment) == EXPECTED


def test_the_bits_do_not_depend_on_whether_subnormal_numbers_are_flushed() -> None:
    """Libraries switch that for the thread that they run in."""
    x = np.concatenate([np.arange(-1500, 1500) / 2.0, [1e-320, -1e-320, 3e-308, 1e-300], 2.0 ** -np.arange(900, 1070)])
    calls = {name: np.abs(x) if name.startswith("log") else x for name in REFERENCES}
    plain = {name: getattr(portable, name)(value).tobytes() for name, value in calls.items()}
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor cannot flush subnormal numbers")
    try:
        assert np.array([1e-320]) * 0.5 == 0
        flushed = {name: getattr(portable, name)(value).tobytes() for name, value in calls.items()}
    finally:
        torch.set_flush_denormal(False)
    assert flushed == plain


def test_the_constants_are_those_of_mathematics() -> None:
    with mpmath.workprec(200):
        source = inspect.getsource(portable)
        assert float(1 / mpmath.log(2)).hex() in source
        assert float(1 / mpmath.sqrt(2 * mpmath.pi)).hex() in source
        high = float.fromhex("0x1.62e42fefa0000p-1")
        assert high.hex() in source and float(mpmath.log(2) - high).hex() in source
        assert abs(high - mpmath.log(2)) < 2.0**-39

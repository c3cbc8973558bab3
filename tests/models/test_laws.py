"""Probabilities of bins: against SciPy and torch, where the mass is, and the same bits on every machine."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import stats
from torch.nn import functional

from rdp.errors import WeightsError
from rdp.models.laws import MAX_BINS, TAIL, factorized_pmfs, gaussian_pmf, laplace_pmf, scale_table


def digest(*arrays: np.ndarray) -> str:
    return hashlib.sha256(b"".join(array.astype("<f8").tobytes() for array in arrays)).hexdigest()[:16]


def test_the_scales_are_those_of_the_field() -> None:
    """The reference: exp(linspace(log 0.11, log 256, 64)) in torch."""
    ends = torch.tensor([0.11, 256.0], dtype=torch.float64).log()
    theirs = torch.exp(torch.linspace(ends[0], ends[1], 64, dtype=torch.float64)).numpy()
    np.testing.assert_allclose(scale_table(), theirs, rtol=1e-14)
    assert len(scale_table(0.5, 2.0, 3)) == 3 and scale_table(0.5, 2.0, 3)[1] == pytest.approx(1.0, rel=1e-15)


@pytest.mark.parametrize("scale", [0.05, 0.11, 0.3, 1.0, 7.7, 256.0])
@pytest.mark.parametrize("step", [0.5, 1.0, 2.0])
def test_gaussian_bins_are_those_of_scipy(scale: float, step: float) -> None:
    pmf, offset = gaussian_pmf(scale, step)
    k = offset + np.arange(pmf.size)
    # On the lower side, where SciPy too keeps its precision.
    upper, lower = (-np.abs(k) + 0.5) * step, (-np.abs(k) - 0.5) * step
    expected = stats.norm.cdf(upper, scale=scale) - stats.norm.cdf(lower, scale=scale)
    np.testing.assert_allclose(pmf, expected, rtol=1e-9, atol=0)
    assert np.array_equal(pmf, pmf[::-1]) and offset == -(pmf.size // 2)


@pytest.mark.parametrize("step", [0.5, 2 / 3, 1.0, 1.5, 2.0])
def test_laplacian_bins_are_those_of_scipy(step: float) -> None:
    """P(k) = F((k + 1/2) s) - F((k - 1/2) s) for the law of unit variance."""
    pmf, offset = laplace_pmf(step)
    k = -np.abs(offset + np.arange(pmf.size))
    law = stats.laplace(scale=np.sqrt(0.5))
    assert law.var() == pytest.approx(1.0)
    expected = law.cdf((k + 0.5) * step) - law.cdf((k - 0.5) * step)
    np.testing.assert_allclose(pmf, expected, rtol=1e-9, atol=0)


def test_the_middle_bin_of_the_laplacian_at_step_one_costs_about_one_bit() -> None:
    pmf, offset = laplace_pmf(1.0)
    assert pmf[-offset] == pytest.approx(1 - np.exp(-np.sqrt(0.5)), rel=1e-14)


@pytest.mark.parametrize("tail", [2.0**-10, TAIL, 2.0**-40])
def test_bins_leave_the_tail_and_no_more_and_none_is_spare(tail: float) -> None:
    for pmf, law, step in (
        (gaussian_pmf(3.0, 1.0, tail)[0], stats.norm(scale=3.0), 1.0),
        (laplace_pmf(0.5, tail)[0], stats.laplace(scale=np.sqrt(0.5)), 0.5),
    ):
        edge = pmf.size / 2 * step
        assert 2 * law.sf(edge) <= tail < 2 * law.sf(edge - step)
        assert pmf.sum() == pytest.approx(1 - 2 * law.sf(edge), rel=1e-12)


def test_a_law_of_next_to_no_width_is_one_bin_and_one_of_any_width_has_an_end() -> None:
    pmf, offset = gaussian_pmf(0.01)
    assert pmf.tolist() == [1.0] and offset == 0
    for wide, _ in (gaussian_pmf(1e6), gaussian_pmf(1e300), laplace_pmf(1e-9)):
        assert wide.size == MAX_BINS - 1 and (wide >= 0).all() and wide.sum() < 1


@pytest.mark.parametrize("values", [(0.0, 1.0), (-1.0, 1.0), (np.nan, 1.0), (1.0, 0.0), (1.0, np.inf)])
def test_scales_and_steps_that_are_none_are_refused(values: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="it is positive"):
        gaussian_pmf(*values)
    with pytest.raises(ValueError, match="it is positive"):
        laplace_pmf(values[0] if values[1] == 1.0 else values[1])


def test_tails_and_tables_that_are_none_are_refused() -> None:
    for tail in (0.0, 1.0, np.nan, 2.0**-61):
        with pytest.raises(ValueError, match="a tail of"):
            laplace_pmf(1.0, tail)
    for lowest, highest, levels in ((0.0, 1.0, 3), (2.0, 1.0, 3), (1.0, 2.0, 1), (1.0, np.inf, 3)):
        with pytest.raises(ValueError, match="are no table"):
            scale_table(lowest, highest, levels)


@dataclass
class Density:
    """Random parameters of a factorised density, as float64 arrays."""

    matrices: list[np.ndarray]
    biases: list[np.ndarray]
    factors: list[np.ndarray]
    quantiles: np.ndarray

    def pmfs(self, **options):
        return factorized_pmfs(self.matrices, self.biases, self.factors, self.quantiles, **options)

    def logits(self, values: np.ndarray) -> torch.Tensor:
        """Cumulative logits (C, 1, n) of values (C, 1, n), in torch: the formula of the paper."""
        x = torch.from_numpy(values)
        for k, (matrix, bias) in enumerate(zip(self.matrices, self.biases, strict=True)):
            x = functional.softplus(torch.from_numpy(matrix)) @ x + torch.from_numpy(bias)
            if k < len(self.factors):
                x = x + torch.tanh(torch.from_numpy(self.factors[k])) * torch.tanh(x)
        return x


def density(seed: int, channels: int = 5, widths: tuple[int, ...] = (3, 3, 3, 3), spread: float = 10.0) -> Density:
    rng = np.random.default_rng(seed)
    sizes = (1, *widths, 1)
    centre = np.log(np.expm1(spread ** (-1 / (len(sizes) - 1)) / np.array(sizes[1:])))
    return Density(
        [c + rng.normal(0, 0.3, (channels, b, a)) for c, a, b in zip(centre, sizes, sizes[1:], strict=False)],
        [rng.uniform(-0.5, 0.5, (channels, b, 1)) for b in sizes[1:]],
        [rng.normal(0, 0.7, (channels, b, 1)) for b in sizes[1:-1]],
        np.stack([rng.normal(0, 3, (channels, 1)) + d for d in (-10, 0, 10)], axis=-1),
    )


@pytest.mark.parametrize("step", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("widths", [(3, 3, 3, 3), (4,), ()])
def test_factorised_bins_are_those_of_torch(step: float, widths: tuple[int, ...]) -> None:
    model = density(7, widths=widths)
    pmfs, offsets = model.pmfs(step=step)
    for channel, (pmf, offset) in enumerate(zip(pmfs, offsets, strict=True)):
        values = model.quantiles[channel, 0, 1] + (offset + np.arange(pmf.size)) * step
        every = np.broadcast_to(values, (5, 1, pmf.size))
        lower, upper = (model.logits(every + side * step)[channel, 0] for side in (-0.5, 0.5))
        sign = -torch.sign(lower + upper)
        expected = (torch.sigmoid(sign * upper) - torch.sigmoid(sign * lower)).abs().numpy()
        np.testing.assert_allclose(pmf, expected, rtol=1e-9, atol=0)
        assert torch.sigmoid(lower[0]) <= TAIL / 2 < torch.sigmoid(upper[0])
        assert torch.sigmoid(-upper[-1]) <= TAIL / 2 < torch.sigmoid(-lower[-1])


def test_bins_lie_about_other_centres_where_they_are_given() -> None:
    model = density(8)
    centres = np.arange(5) * 0.25
    moved = Density(model.matrices, model.biases, model.factors, np.repeat(centres[:, None, None], 3, axis=2))
    for given, expected in zip(model.pmfs(centres=centres), moved.pmfs(), strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(given, expected, strict=True))
    with pytest.raises(ValueError, match="one finite number each"):
        model.pmfs(centres=np.array([0.0, np.nan, 0, 0, 0]))


def test_medians_that_were_never_trained_do_not_lose_the_mass() -> None:
    model = density(9)
    right, right_offsets = model.pmfs()
    model.quantiles = model.quantiles + np.array([3000.0, -70_000, 1, 0, 12])[:, None, None]
    pmfs, offsets = model.pmfs()
    assert all(pmf.sum() > 1 - 2 * TAIL for pmf in pmfs)
    assert [len(pmf) for pmf in pmfs] == pytest.approx([len(pmf) for pmf in right], abs=1)
    assert offsets[0] == pytest.approx(right_offsets[0] - 3000, abs=1)
    assert offsets[1] == pytest.approx(right_offsets[1] + 70_000, abs=1)


def test_a_density_wider_than_the_table_keeps_its_middle() -> None:
    model = density(10, spread=1e5)
    pmfs, _ = model.pmfs()
    for channel, pmf in enumerate(pmfs):
        assert pmf.size == MAX_BINS and pmf.sum() < 1, channel
        assert pmf[: MAX_BINS // 2].sum() == pytest.approx(pmf[MAX_BINS // 2 :].sum(), rel=0.2)


def test_a_density_within_one_bin_is_one_bin() -> None:
    model = density(11, spread=1e-4)
    model.quantiles = np.zeros((5, 1, 3))
    pmfs, _ = model.pmfs(step=1000.0)
    assert all(pmf.size <= 2 and pmf.sum() > 1 - 2 * TAIL for pmf in pmfs)


def test_parameters_that_do_not_go_together_are_refused() -> None:
    model = density(12)
    for changed in (
        Density(model.matrices[:-1], model.biases, model.factors, model.quantiles),
        Density(model.matrices, model.biases[::-1], model.factors, model.quantiles),
        Density(model.matrices, model.biases, [], model.quantiles),
        Density(model.matrices, model.biases, model.factors, model.quantiles[:4]),
        Density(model.matrices, model.biases, model.factors, model.quantiles[:, 0]),
        Density([], [], [], model.quantiles),
    ):
        with pytest.raises(WeightsError, match="do not go together"):
            changed.pmfs()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_damaged_weights_are_refused(value: float) -> None:
    for name in ("matrices", "biases", "factors"):
        model = density(13)
        getattr(model, name)[0][0, 0, 0] = value
        with pytest.raises(WeightsError, match="no finite numbers"):
            model.pmfs()


def test_large_weights_give_a_law_all_the_same() -> None:
    model = density(14)
    for matrix in model.matrices:
        matrix *= 1e4
    pmfs, _ = model.pmfs()
    assert all(np.isfinite(pmf).all() and (pmf >= 0).all() and pmf.sum() <= 1 + 1e-12 for pmf in pmfs)


def arithmetic_density() -> Density:
    """Parameters of arithmetic's making, for a digest."""
    sizes = (1, 3, 3, 3, 3, 1)

    def numbers(*shape: int) -> np.ndarray:
        return (np.arange(np.prod(shape)) * 37 % 101 / 64 - 0.75).reshape(shape)

    return Density(
        [numbers(4, b, a) - 1 for a, b in pairwise(sizes)],
        [numbers(4, b, 1) for b in sizes[1:]],
        [numbers(4, b, 1) for b in sizes[1:-1]],
        numbers(4, 1, 3),
    )


def test_the_bits_are_those_of_every_other_machine() -> None:
    """The digests were taken once: a machine on which one differs writes files that no other reads."""
    assert digest(scale_table()) == "deb7bafe3a8f5f0b"
    gaussians = [gaussian_pmf(float(scale)) for scale in scale_table()]
    assert digest(*(pmf for pmf, _ in gaussians)) == "6623e684bab26362"
    assert digest(*(laplace_pmf(step)[0] for step in (0.5, 2 / 3, 1.0, 1.5, 2.0))) == "b98ee7cc90fb73ad"
    pmfs, offsets = arithmetic_density().pmfs()
    assert digest(offsets, *pmfs) == "4eafa2f9b15c8deb"

"""Blocks of a problem in memory are views of all its images, in order; work on them is done side by side."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from rdp.selection import Problem
from rdp.selection.solver.blocks import BLOCK_CELLS, ArraySource, Block, collected, in_parallel, processors


def problem(images: int, points: int = 4, ragged: bool = False) -> Problem:
    rng = np.random.default_rng(1)
    columns = {name: rng.random((images, points)) for name in ("mse", "bpp", "psnr")}
    allowed = np.ones((images, points), dtype=bool)
    if ragged:
        allowed[:, 0] = rng.random(images) < 0.5
    return Problem.from_arrays(
        columns,
        minimize="mse",
        at_most={"bpp": 0.5},
        at_least={"psnr": 0.4},
        weights={"bpp": "pixels"},
        pixels=rng.uniform(1, 2, images),
        allowed=allowed,
    )


@pytest.mark.parametrize("images", [1, 3, BLOCK_CELLS // 4, BLOCK_CELLS // 4 + 1, 70_000])
@pytest.mark.parametrize("ragged", [False, True])
def test_every_image_is_in_one_block_in_order_and_nothing_is_copied(images: int, ragged: bool) -> None:
    given = problem(images, ragged=ragged)
    source = ArraySource(given)
    blocks = list(source.blocks())
    assert [block.first for block in blocks] == np.cumsum([0, *(block.images for block in blocks)])[:-1].tolist()
    whole = collected(blocks)
    assert whole.images == images
    assert np.array_equal(whole.columns[source.objective.column], given.objective.values)
    for row, constraint in zip(source.rows, given.constraints, strict=True):
        assert np.array_equal(whole.columns[row.column], constraint.term.values)
        weights = np.ones(images) if row.weights is None else whole.weights[row.weights]
        assert np.array_equal(weights, constraint.term.weights)
    assert (whole.allowed is None) == bool(given.allowed.all())
    assert whole.allowed is None or np.array_equal(whole.allowed, given.allowed)
    for block in blocks:
        assert np.shares_memory(block.columns[source.objective.column], given.objective.values)
        assert block.columns[0].size <= max(BLOCK_CELLS, given.shape[1])


def test_rows_say_what_is_minimised_and_what_is_bounded_from_above() -> None:
    source = ArraySource(problem(5))
    bpp, psnr = source.rows
    assert (source.objective.sign, source.objective.weights) == (1.0, None)
    assert (bpp.sign, bpp.budget, bpp.weights) == (1.0, 0.5, 0)
    assert (psnr.sign, psnr.budget, psnr.weights) == (-1.0, -0.4, None)
    rate = np.random.default_rng(0).random((5, 2))
    twice = Problem.from_arrays({"x": rate}, maximize="x", at_most={"x": 0.5}, at_least={"x": 0.1})
    source = ArraySource(twice)
    assert {row.column for row in (source.objective, *source.rows)} == {0}
    assert source.objective.sign == -1.0


@pytest.mark.parametrize(("images", "wanted"), [(10, 100), (100, 100), (5000, 100), (99_999, 4096), (60_000, 50_000)])
def test_a_sample_has_at_least_so_many_images_from_everywhere(images: int, wanted: int) -> None:
    given = problem(images)
    first, again = (collected(list(ArraySource(given).sample(wanted))) for _ in range(2))
    assert min(images, wanted) <= first.images <= max(2 * wanted, 1)
    values = given.objective.values
    assert first.columns[0].tolist() == again.columns[0].tolist()
    known = {tuple(row): number for number, row in enumerate(values.tolist())}
    numbers = [known[tuple(row)] for row in first.columns[0].tolist()]
    assert numbers == sorted(set(numbers))
    gaps = np.diff([-1, *numbers, images])
    assert gaps.max() <= 2 * images / len(numbers) + 1


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_results_come_in_order_whatever_the_number_of_threads(threads: int) -> None:
    source = ArraySource(problem(100_000))
    done = list(in_parallel(lambda block, _: (block.first, float(block.columns[0].sum())), source.blocks(), threads))
    assert done == [(block.first, float(block.columns[0].sum())) for block in source.blocks()]


@pytest.mark.parametrize("threads", [1, 3])
def test_scratch_memory_is_used_by_one_at_a_time(threads: int) -> None:
    busy: set[int] = set()
    lock = threading.Lock()

    def work(block: Block, scratch: list[np.ndarray]) -> int:
        with lock:
            assert id(scratch) not in busy
            busy.add(id(scratch))
        scratch[:] = [np.full(block.images, block.first)]
        total = int(scratch[0].sum())
        with lock:
            busy.remove(id(scratch))
        return total

    source = ArraySource(problem(200_000))
    assert list(in_parallel(work, source.blocks(), threads)) == [b.first * b.images for b in source.blocks()]


@pytest.mark.parametrize("threads", [1, 2])
def test_an_error_in_the_work_is_raised_and_ends_it(threads: int) -> None:
    def work(block: Block, _: list[np.ndarray]) -> None:
        if block.first:
            raise ZeroDivisionError(str(block.first))

    with pytest.raises(ZeroDivisionError, match=str(BLOCK_CELLS // 4)):
        list(in_parallel(work, ArraySource(problem(100_000)).blocks(), threads))


def test_blocks_with_and_without_a_mask_are_collected() -> None:
    some = Block(0, (np.ones((2, 3)),), (np.ones(2),))
    other = Block(2, (np.zeros((1, 3)),), (np.ones(1),), np.array([[True, False, True]]))
    both = collected([some, other])
    assert both.images == 3
    assert both.allowed is not None
    assert both.allowed.tolist() == [[True] * 3] * 2 + [[True, False, True]]
    assert collected([some]).allowed is None


def test_there_is_a_processor() -> None:
    assert processors() >= 1

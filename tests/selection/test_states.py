"""Sets of changes are listed completely, each once, with true sums."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np
import pytest

from rdp.selection.solver.states import Deviations, States, TooManyError, list_states


def deviations(
    rng: np.random.Generator, images: int, rows: int, cuts: int = 0, first: int = 0, lowest: int = 0
) -> Deviations:
    """Changes of some images, one to three each, in whole numbers, whose sums are exact."""
    image = np.repeat(np.arange(first, first + images), rng.integers(1, 4, images))
    count = len(image)
    point = np.array([k for _, some in itertools.groupby(image) for k, _ in enumerate(some)], dtype=np.int64)
    return Deviations(
        image=image,
        point=point,
        reduced=rng.integers(lowest, 9, count).astype(float),
        usage=rng.integers(-5, 6, (rows, count)).astype(float),
        cost=rng.integers(-9, 10, count).astype(float),
        outs=rng.integers(-1, 2, (cuts, count)).astype(float),
    )


def every_set(changes: Deviations) -> Iterator[tuple[int, ...]]:
    """Numbers of the changes in every set, at most one an image."""
    images = dict.fromkeys(changes.image.tolist())
    own = [[None, *np.flatnonzero(changes.image == image).tolist()] for image in images]
    for some in itertools.product(*own):
        yield tuple(number for number in some if number is not None)


def listed(states: States) -> list[frozenset[tuple[int, int]]]:
    return [frozenset(states.path(number)) for number in range(len(states))]


def named(changes: Deviations, some: tuple[int, ...]) -> frozenset[tuple[int, int]]:
    return frozenset((int(changes.image[k]), int(changes.point[k])) for k in some)


NOTHING = np.zeros(0, dtype=np.int64)


def test_without_budgets_the_sets_of_at_most_that_reduced_cost_are_listed_once_each_with_their_sums() -> None:
    for seed in range(150):
        rng = np.random.default_rng(seed)
        changes = deviations(rng, int(rng.integers(0, 7)), 2, cuts=int(rng.integers(0, 3)))
        limit = float(rng.integers(0, 25))
        states = list_states(changes, limit, np.full(2, np.inf), 10**6, math.inf, other=changes.of(NOTHING))
        expected = {named(changes, some) for some in every_set(changes) if changes.reduced[list(some)].sum() <= limit}
        assert len(states) == len(expected), seed
        assert set(listed(states)) == expected, seed
        place = {(int(i), int(p)): k for k, (i, p) in enumerate(zip(changes.image, changes.point, strict=True))}
        for number, some in enumerate(listed(states)):
            members = [place[change] for change in some]
            assert states.reduced[number] == changes.reduced[members].sum()
            assert states.cost[number] == changes.cost[members].sum()
            assert states.usage[:, number].tolist() == changes.usage[:, members].sum(axis=1).tolist()
            assert states.outs[:, number].tolist() == changes.outs[:, members].sum(axis=1).tolist()
        assert listed(states)[0] == frozenset()


def test_with_budgets_no_set_is_left_out_that_the_other_half_can_make_good() -> None:
    """Whatever pair of sets keeps to the budgets and the limit, both of it are listed; also with negative costs."""
    left_out = 0
    for seed in range(60):
        rng = np.random.default_rng([1, seed])
        lowest = int(rng.choice([0, -3]))
        first = deviations(rng, int(rng.integers(1, 5)), 2, lowest=lowest)
        second = deviations(rng, int(rng.integers(1, 4)), 2, first=10, lowest=lowest)
        limit, rooms = float(rng.integers(-4, 20)), rng.integers(-6, 3, 2).astype(float)
        one = set(listed(list_states(first, limit, rooms, 10**6, math.inf, other=second)))
        two = set(listed(list_states(second, limit, rooms, 10**6, math.inf, other=first)))
        for some, others in itertools.product(every_set(first), every_set(second)):
            usage = first.usage[:, list(some)].sum(axis=1) + second.usage[:, list(others)].sum(axis=1)
            reduced = first.reduced[list(some)].sum() + second.reduced[list(others)].sum()
            if (usage <= rooms).all() and reduced <= limit:
                assert named(first, some) in one, seed
                assert named(second, others) in two, seed
        left_out += len(list(every_set(first))) - len(one)
    assert left_out > 100  # the budgets do cut the lists


def test_too_many_sets_are_refused() -> None:
    changes = deviations(np.random.default_rng(2), 6, 1)
    rooms, nothing = np.array([np.inf]), changes.of(NOTHING)
    count = len(list_states(changes, 1e9, rooms, 10**6, math.inf, other=nothing))
    assert len(list_states(changes, 1e9, rooms, count, math.inf, other=nothing)) == count
    with pytest.raises(TooManyError, match="too many selections are nearly as good"):
        list_states(changes, 1e9, rooms, count - 1, math.inf, other=nothing)


def test_when_the_time_is_up_the_list_is_given_up() -> None:
    changes = deviations(np.random.default_rng(3), 3, 1)
    with pytest.raises(TooManyError, match="within the time limit"):
        list_states(changes, 9.0, np.array([np.inf]), 10**6, -math.inf, other=changes.of(NOTHING))


def test_halves_have_every_image_once_and_about_as_many_each() -> None:
    for seed in range(100):
        rng = np.random.default_rng([4, seed])
        changes = deviations(rng, int(rng.integers(0, 12)), 1)
        left, right = changes.halves()
        images = [*dict.fromkeys(left.image.tolist()), *dict.fromkeys(right.image.tolist())]
        assert sorted(images) == sorted(set(changes.image.tolist()))
        assert len(left.image) + len(right.image) == len(changes.image)
        assert abs(len(set(left.image.tolist())) - len(set(right.image.tolist()))) <= 1
        both = {
            *zip(left.image, left.point, left.cost, strict=True),
            *zip(right.image, right.point, right.cost, strict=True),
        }
        assert both == set(zip(changes.image, changes.point, changes.cost, strict=True))


def test_lists_grow_beyond_their_first_memory() -> None:
    """Twelve images with one change each: 4,096 sets."""
    changes = Deviations(
        np.arange(12), np.ones(12, dtype=np.int64), np.ones(12), np.ones((1, 12)), np.arange(12.0), np.zeros((0, 12))
    )
    states = list_states(changes, 99.0, np.array([99.0]), 4096, math.inf, other=changes.of(NOTHING))
    assert len(states) == 4096
    assert sorted(states.reduced.tolist()) == sorted(float(bin(k).count("1")) for k in range(4096))
    assert len(set(listed(states))) == 4096

"""Side information: the bits that tell a receiver which operating point each image was given.

The definition (`rdp.selection.index_cost`): sender and receiver know the list of the M points among which the selection
chose; an image's number in that list takes ceil(log2 M) bits at a fixed length. M counts all points of the problem,
also those that no image took: a list of only the points in use would have to be sent as well. A selection that was
limited to K points sends such a list once, in ceil(log2 C(M, K)) bits, and then ceil(log2 K) bits an image. Beside that
stand log2 M, what only the points in use would cost, and the entropy of the counts, which no code for the images one
by one can pass.

Files of standard formats name their own format and carry every parameter of decoding, so their receiver needs no
index. It is needed where a file does not say what decodes it, and where points share a file and differ in the decoder.
For the latter a selection is charged with less, the number of the decoder among those of the file
(`rdp.selection.decoder_cost`); where side information is charged, it is so in place of that.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from rdp.errors import EXIT_INFEASIBLE
from rdp.report.delivery_names import PackError
from rdp.selection import Constraint, Problem, Selection
from rdp.selection.index_cost import IndexCost, fixed_length, index_cost
from rdp.selection.linear import allowance
from rdp.selection.problem import FloatArray, IntArray, weighted_mean
from rdp.selection.statement import Weighting


class SideInformationError(PackError):
    """A selection that is within its rate budget, and is not when side information is charged."""

    exit_code = EXIT_INFEASIBLE


@dataclass(frozen=True)
class SideInformation:
    """What the indices of the chosen points cost.

    `points` is M, `points_used` how many some image took, `limit` how many it might use in all, K, or M without a
    limit. `bits_per_image` is ceil(log2 K), `shared_bits` what names the K points once, `total_bits` both together for
    all images. `bpp` is the average of an image's bits (its part of the shared ones included) over its pixels,
    `bpp_files` the average rate of the files alone and `bpp_total` their sum, all as means over images or by pixels, as
    `weighting` says. `images_that_need_it` counts files that do not say themselves how they are decoded. `charged`:
    budgets were held against the sum.
    """

    points: int
    points_used: int
    images: int
    bits_per_image: int
    log2_points: float
    bits_per_image_used_points: int
    entropy_bits_per_image: float
    total_bits: int
    weighting: Weighting
    bpp: float
    bpp_files: float
    bpp_total: float
    images_that_need_it: int
    charged: bool
    limit: int
    shared_bits: int

    @property
    def explanation(self) -> str:
        """What it is and when a receiver needs it, in words."""
        need = self.images_that_need_it
        text = (
            f"The number of an image's point among the {self.points} of the selection's problem, at a fixed length of "
            f"ceil(log2 {self.points}) = {self.bits_per_image} bits. "
        )
        if self.limit < self.points:
            text = (
                f"The number of an image's point among the {self.limit} that the selection might use, at a fixed "
                f"length of ceil(log2 {self.limit}) = {self.bits_per_image} bits, and once the number of that set "
                f"among those of the {self.points} points of its problem, ceil(log2 C({self.points}, {self.limit})) = "
                f"{self.shared_bits} bits. "
            )
        if need == 0:
            return text + (
                "Every file here names its own format and holds what its decoder needs, so a receiver decodes it "
                "without that number; it matters where one file has several decoders, or does not name its format."
            )
        return text + (
            f"{need} of the {self.images} files do not say themselves what decodes them (they name no standard format, "
            "or several points share the file and differ in the decoder): for these a receiver needs the number."
        )

    @property
    def sentence(self) -> str:
        """The numbers in one line."""
        once = f", which {self.shared_bits} bits name among {self.points}" if self.shared_bits else ""
        return (
            f"{self.bits_per_image} bits an image (one of {self.limit} points{once}), {self.total_bits} bits in all, "
            f"{self.bpp:.3g} bit/pixel: {self.bpp_total:.7g} bit/pixel with the files, "
            f"{'charged' if self.charged else 'not charged'}"
        )


def entropy(counts: list[int]) -> float:
    """Entropy in bits of the empirical distribution that the counts are of."""
    total = sum(counts)
    parts = [count / total * math.log2(total / count) for count in counts if count]
    return math.fsum(parts)


def side_information(
    counts: list[int],
    bits: FloatArray,
    pixels: FloatArray,
    weighting: Weighting,
    need: int,
    charged: bool,
    max_points: int | None = None,
) -> SideInformation:
    """Of images with `bits` (N,) of file and `pixels` (N,), which took the M points `counts` (M,) times.

    `max_points` is the limit under which the selection was made.
    """
    images = len(bits)
    cost = index_cost(len(counts), images, max_points, pixels)
    weights = pixels if weighting == "pixels" else np.ones(images)
    files = weighted_mean(bits / pixels, weights)
    side = weighted_mean(cost.added["bpp"], weights)
    used = sum(count > 0 for count in counts)
    return SideInformation(
        points=len(counts),
        points_used=used,
        images=images,
        bits_per_image=cost.per_image,
        log2_points=math.log2(len(counts)),
        bits_per_image_used_points=fixed_length(used),
        entropy_bits_per_image=entropy(counts),
        total_bits=cost.total_bits,
        weighting=weighting,
        bpp=side,
        bpp_files=files,
        bpp_total=files + side,
        images_that_need_it=need,
        charged=charged,
        limit=cost.limit,
        shared_bits=cost.shared,
    )


def charge(selection: Selection, pixels: FloatArray) -> None:
    """Hold the budgets of the rate against files and side information together.

    For a selection that was solved without it; `pixels` (N,) are the images' sizes. Bits that name decoders, which the
    selection may be solved with, are not held against them as well. Looks at upper bounds of `bpp` and
    `nbytes`, of averages (of groups too) and of each image.
    Raises `SideInformationError` with the number, and with what to solve for instead.
    """
    problem, choice = selection.problem, selection.required_choice
    cost = index_cost(len(problem.points), len(problem.images), problem.max_points, pixels)
    for constraint in problem.constraints:
        term = constraint.term
        if constraint.sense != "at_most" or term.column not in cost.added:
            continue
        together = _of_files(problem, term.column, term.picked(choice), choice) + cost.added[term.column]
        average = weighted_mean(together, term.weights)
        if average > constraint.budget + allowance(constraint.budget, together, term.weights):
            side = _largest(problem, constraint, cost)
            option, where = "--at-most", f"the average {term.column}"
            if constraint.group:
                option, where = "--group-at-most", f"{where} in {constraint.group!r}"
            raise _refusal(where, option, term.column, average, constraint.budget, side, cost)
    rows = np.arange(len(choice))
    for bound in problem.image_bounds:
        if bound.sense != "at_most" or bound.column not in cost.added:
            continue
        added = cost.added[bound.column]
        together = _of_files(problem, bound.column, bound.values[rows, choice], choice) + added
        worst = int(np.argmax(together - bound.bound))
        if together[worst] > bound.bound:
            where = f"{problem.labels[worst]!r}: {bound.column}"
            value, side = float(together[worst]), float(added.max())
            raise _refusal(where, "--each-at-most", bound.column, value, bound.bound, side, cost)


def _of_files(problem: Problem, column: str, values: FloatArray, choice: IntArray) -> FloatArray:
    """The chosen values (N,) of a column without bits beside the files."""
    return values if problem.naming is None else values - problem.naming.at(column, choice)


def _largest(problem: Problem, constraint: Constraint, cost: IndexCost) -> float:
    """What side information adds to the average of a constraint, at most, in all groups of the same budget."""
    column, sense, grouped = constraint.term.column, constraint.sense, bool(constraint.group)
    alike = [c for c in problem.constraints if (c.term.column, c.sense, bool(c.group)) == (column, sense, grouped)]
    return max(weighted_mean(cost.added[column], c.term.weights) for c in alike)


def _refusal(
    where: str, option: str, column: str, value: float, budget: float, side: float, cost: IndexCost
) -> SideInformationError:
    # Rounded down, so that the selection of the smaller budget is within this one when it is charged.
    step = 10.0 ** (math.floor(math.log10(budget)) - 8) if budget > 0 else 0.0
    smaller = math.floor((budget - side) / step) * step if step else budget - side
    return SideInformationError(
        f"with side information ({cost.bits:.6g} bits an image) {where} is {value:.9g}, which passes the budget of "
        f"{budget:g} by {value - budget:.3g}. Solve again with {option} {column}={smaller:.9g}, or with --side-info, "
        "which charges it in the solve; or pack without --side-info, which only states it"
    )

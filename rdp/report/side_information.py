"""Side information: the bits that tell a receiver which operating point each image was given.

The definition: sender and receiver know the list of the M points among which the selection chose; an image's number
in that list takes ceil(log2 M) bits at a fixed length. M counts all points of the problem, also those that no image
took: a list of only the points in use would have to be sent as well. Beside that stand log2 M, what M points in use
would cost, and the entropy of the counts, which no code for the images one by one can pass.

Files of standard formats name their own format and carry every parameter of decoding, so their receiver needs no
index. It is needed where a file does not say what decodes it, and where points share a file and differ in the decoder.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from rdp.errors import EXIT_INFEASIBLE
from rdp.report.delivery_names import PackError
from rdp.selection import Selection
from rdp.selection.linear import allowance
from rdp.selection.problem import FloatArray, weighted_mean
from rdp.selection.statement import Weighting


class SideInformationError(PackError):
    """A selection that is within its rate budget, and is not when side information is charged."""

    exit_code = EXIT_INFEASIBLE


@dataclass(frozen=True)
class SideInformation:
    """What the indices of the chosen points cost.

    `points` is M, `points_used` how many some image took. `bits_per_image` is ceil(log2 M), `total_bits` that times
    the images. `bpp` is the average of an image's bits over its pixels, `bpp_files` the average rate of the files
    alone and `bpp_total` their sum, all as means over images or by pixels, as `weighting` says. `images_that_need_it`
    counts files that do not say themselves how they are decoded. `charged`: budgets were held against the sum.
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

    @property
    def explanation(self) -> str:
        """What it is and when a receiver needs it, in words."""
        need = self.images_that_need_it
        text = (
            f"The number of an image's point among the {self.points} of the selection's problem, at a fixed length of "
            f"ceil(log2 {self.points}) = {self.bits_per_image} bits. "
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
        return (
            f"{self.bits_per_image} bits an image (one of {self.points} points), {self.total_bits} bits in all, "
            f"{self.bpp:.3g} bit/pixel: {self.bpp_total:.7g} bit/pixel with the files, "
            f"{'charged' if self.charged else 'not charged'}"
        )


def fixed_length(points: int) -> int:
    """ceil(log2 points): bits of the number of one of so many points."""
    return (points - 1).bit_length()


def entropy(counts: list[int]) -> float:
    """Entropy in bits of the empirical distribution that the counts are of."""
    total = sum(counts)
    parts = [count / total * math.log2(total / count) for count in counts if count]
    return math.fsum(parts)


def side_information(
    counts: list[int], bits: FloatArray, pixels: FloatArray, weighting: Weighting, need: int, charged: bool
) -> SideInformation:
    """Of images with `bits` (N,) of file and `pixels` (N,), which took the M points `counts` (M,) times."""
    images, per_image = len(bits), fixed_length(len(counts))
    weights = pixels if weighting == "pixels" else np.ones(images)
    files = weighted_mean(bits / pixels, weights)
    side = weighted_mean(per_image / pixels, weights)
    used = sum(count > 0 for count in counts)
    return SideInformation(
        points=len(counts),
        points_used=used,
        images=images,
        bits_per_image=per_image,
        log2_points=math.log2(len(counts)),
        bits_per_image_used_points=fixed_length(used),
        entropy_bits_per_image=entropy(counts),
        total_bits=images * per_image,
        weighting=weighting,
        bpp=side,
        bpp_files=files,
        bpp_total=files + side,
        images_that_need_it=need,
        charged=charged,
    )


def charge(selection: Selection, pixels: FloatArray) -> None:
    """Hold the budgets of the rate against files and side information together.

    `pixels` (N,) are the images' sizes. Looks at upper bounds of `bpp` and `nbytes`, of averages and of each image.
    Raises `SideInformationError` with the number, and with what to solve for instead.
    """
    problem, choice = selection.problem, selection.required_choice
    bits = fixed_length(len(problem.points))
    added = {"bpp": bits / pixels, "nbytes": np.full(len(pixels), bits / 8)}
    for constraint in problem.constraints:
        term = constraint.term
        if constraint.sense != "at_most" or term.column not in added:
            continue
        side = added[term.column]
        together = term.picked(choice) + side
        average = weighted_mean(together, term.weights)
        if average > constraint.budget + allowance(constraint.budget, together, term.weights):
            cost = weighted_mean(side, term.weights)
            raise _refusal("the average", "--at-most", term.column, average, constraint.budget, cost, bits)
    rows = np.arange(len(choice))
    for bound in problem.image_bounds:
        if bound.sense != "at_most" or bound.column not in added:
            continue
        side = added[bound.column]
        together = bound.values[rows, choice] + side
        worst = int(np.argmax(together - bound.bound))
        if together[worst] > bound.bound:
            where = f"{problem.labels[worst]!r}:"
            value, cost = float(together[worst]), float(side.max())
            raise _refusal(where, "--each-at-most", bound.column, value, bound.bound, cost, bits)


def _refusal(
    where: str, option: str, column: str, value: float, budget: float, cost: float, bits: int
) -> SideInformationError:
    # Rounded down, so that the selection of the smaller budget is within this one when it is charged.
    step = 10.0 ** (math.floor(math.log10(budget)) - 8) if budget > 0 else 0.0
    smaller = math.floor((budget - cost) / step) * step if step else budget - cost
    return SideInformationError(
        f"with side information ({bits} bits an image) {where} {column} is {value:.9g}, which passes the budget of "
        f"{budget:g} by {value - budget:.3g}. Solve again with {option} {column}={smaller:.9g}, or pack without "
        "--side-info, which only states it"
    )

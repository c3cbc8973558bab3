"""The picture of a training towards a target rate: every validation image's rate, round by round."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rdp.training.figure_style import new_figure, png_of
from rdp.training.rate_target_rule import RateGoal, Round

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEIGHT_IN = 3.1
_ROUND_IN = 0.62
_EDGES_IN = 0.95
_FEWEST = 4
"""Columns that there is room for at least, so that dots keep their places as rounds come."""
_SWARM = 0.34
"""Half the width of a round's dots, in rounds."""

INSIDE, OUTSIDE, BAND, TARGET = "#0072B2", "#D55E00", "#009E73", "#555555"
"""Of Okabe and Ito's palette; dots outside the band are hollow too."""


def draw_rounds(rounds: Sequence[Round], goal: RateGoal) -> bytes:
    """A PNG at 200 dpi, the same bytes every time: a column of dots a round, its mean, R_t, beta and share within."""
    width = _EDGES_IN + _ROUND_IN * max(len(rounds), _FEWEST)
    with new_figure(width, HEIGHT_IN) as figure:
        axis = figure.subplots()
        _draw(axis, rounds, goal)
        handles, labels = axis.get_legend_handles_labels()
        figure.legend(
            handles, labels, loc="outside upper center", ncols=3, frameon=False, handlelength=1.6, columnspacing=1.2,
            labelspacing=0.35, borderaxespad=0.1,
        )  # fmt: skip
        return png_of(figure)


def _draw(axis: Axes, rounds: Sequence[Round], goal: RateGoal) -> None:
    low, high = goal.bpp * (1 - goal.tolerance), goal.bpp * (1 + goal.tolerance)
    axis.axhspan(low, high, color=BAND, alpha=0.16, linewidth=0, label=f"within {goal.tolerance:.0%}")
    axis.axhline(goal.bpp, color=BAND, linewidth=0.9, label=f"target {goal.bpp:g} bit/pixel", zorder=1)
    places = range(1, len(rounds) + 1)
    inside: tuple[list[float], list[float]] = ([], [])
    outside: tuple[list[float], list[float]] = ([], [])
    for place, one in zip(places, rounds, strict=True):
        for offset, rate in _swarm(one.rates):
            xs, ys = inside if low <= rate <= high else outside
            xs.append(place + offset)
            ys.append(rate)
    dots: dict[str, Any] = {"linestyle": "none", "marker": "o", "markersize": 2.9, "markeredgewidth": 0.7}
    axis.plot(*inside, color=INSIDE, markeredgecolor="none", **dots, label="image within")
    axis.plot(*outside, markerfacecolor="none", markeredgecolor=OUTSIDE, **dots, label="image outside")
    means = [one.mean_bpp for one in rounds]
    axis.plot(
        places, means, color="black", linewidth=0.8, marker="D", markersize=4.2, markeredgecolor="white",
        markeredgewidth=0.6, label="mean", zorder=4,
    )  # fmt: skip
    axis.hlines(
        [one.target for one in rounds], [place - 0.42 for place in places], [place + 0.42 for place in places],
        color=TARGET, linewidth=1.1, linestyle=(0, (2, 1.2)), label="$R_t$ of the loss", zorder=3,
    )  # fmt: skip
    axis.set_xticks(list(places), [_words(one) for one in rounds])
    axis.set_xlim(0.45, max(len(rounds), _FEWEST) + 0.55)
    axis.set_ylabel("rate of the file (bit/pixel)")
    _log_scale(axis)


def _swarm(rates: Sequence[float]) -> list[tuple[float, float]]:
    """(offset, rate) of each dot: neighbours in rate stand beside each other, from left to right and back."""
    count = len(rates)
    pattern = (0.0, 0.5, -0.5, 1.0, -1.0, 0.25, -0.75, 0.75, -0.25)
    width = _SWARM * min(1.0, count / len(pattern))
    return [(width * pattern[k % len(pattern)], rate) for k, rate in enumerate(sorted(rates))]


def _words(one: Round) -> str:
    name = {"round": f"round {one.number}", "final": "final", "correction": "correction"}[one.stage]
    return f"{name}\n$R_t$ {one.target:.3g}\n$\\beta$ {_beta_words(one.beta)}\n{one.within:.0%} within"


def _beta_words(beta: float) -> str:
    """Plain below 100 000, else with a power of ten."""
    if beta < 99_999.5:
        return f"{beta:.0f}" if beta >= 10 else f"{beta:.2g}"
    mantissa, _, exponent = f"{beta:.1e}".partition("e")
    return f"{mantissa}$\\cdot 10^{{{int(exponent)}}}$"


def _log_scale(axis: Axes) -> None:
    """Logarithmic, as the tolerance is a factor, with plain numbers at few enough ticks."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

    axis.set_yscale("log")
    axis.margins(y=0.06)
    bottom, top = axis.get_ylim()
    wide = top / bottom > 8
    axis.yaxis.set_major_locator(LogLocator(base=10, subs=(1, 2, 5) if wide else (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8)))
    axis.yaxis.set_minor_locator(NullLocator())
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
    axis.yaxis.set_minor_formatter(NullFormatter())
    axis.grid(axis="y", color="#dddddd", linewidth=0.5)

"""Rate allocation over a test set, as Table 4.1 of the source thesis, on Kodak: BPG at QP 38 to 42, both encoders.

    .venv/bin/python studies/rate_allocation/study.py [--images ../shared/data/kodak] [--weights ../shared/weights]

For every encoder, at budgets halfway between the mean rates of neighbouring QPs (as the thesis's 0.15 bit/pixel lies
between those of QP 41 and 42) and at each QP's own mean rate: the proven selection of least mean squared error, the
best single QP within the budget, and the time-shared mixture of single QPs at the selection's own rate, images assigned
at random. Then other objectives (the worst image, MS-SSIM, a perceptual metric) and pools of several codecs, where
selection has more to give. Writes `results/` beside this file, which README.md there explains.
"""

from __future__ import annotations

import argparse
import math
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

import rdp
from rdp.cli.progress import Terminal
from rdp.selection import best_single_point, time_shared_mixture

QPS = range(38, 43)
ENCODERS = ("x265", "hm")
CODECS = [
    "bpg:qp=38..42,encoder=x265|hm",
    "bpg:qp=34|36|44|46,encoder=hm",
    "avif:quality=15..45..5",
    "webp:quality=5|15|25|35",
    "jpeg2000:rate=0.1|0.15|0.2|0.25|0.3|0.4",
]
METRICS = ["mse", "psnr", "ms_ssim", "haarpsi", "lpips_squeeze"]
POOLS = {
    "BPG hm, QP 38..42": ["bpg:qp=3[89],*encoder=hm*", "bpg:qp=4[012],*encoder=hm*"],
    "BPG hm, QP 34..46": ["bpg:*encoder=hm*"],
    "BPG hm and x265": ["bpg:*"],
    "BPG hm and AVIF": ["bpg:*encoder=hm*", "avif:*"],
    "all codecs": ["*"],
}
RESULTS = Path(__file__).parent / "results"


def psnr_of(mse: float) -> float:
    """PSNR in dB of a mean squared error on the 0..255 scale."""
    return 10 * math.log10(255**2 / mse)


def points_of(encoder: str) -> list[str]:
    return [f"bpg:qp={qp},*encoder={encoder}*" for qp in QPS]


@dataclass
class Row:
    """One line of the rate-allocation table: what was done, and the averages that came of it."""

    encoder: str
    budget: float
    where: str
    method: str
    averages: dict[str, float]
    counts: list[float] = field(default_factory=list)

    def record(self) -> dict[str, object]:
        shown = {name: self.averages[name] for name in ("bpp", "mse", "psnr", "ms_ssim", "haarpsi", "lpips_squeeze")}
        counts = {f"QP {qp}": count for qp, count in zip(QPS, self.counts, strict=True)} if self.counts else {}
        return {
            "encoder": self.encoder,
            "budget": self.budget,
            "where": self.where,
            "method": self.method,
            "psnr_of_mean_mse": psnr_of(self.averages["mse"]),
            **shown,
            **counts,
        }


def qp_of(point: str) -> int:
    return int(point.split("qp=")[1].split(",")[0])


def counts_by_qp(shares: dict[str, float]) -> list[float]:
    by_qp = {qp_of(point): share for point, share in shares.items()}
    return [by_qp.get(qp, 0) for qp in QPS]


def allocate(table: rdp.CellTable, encoder: str, budget: float, where: str) -> list[Row]:
    """Best single QP, time-shared mixture and proven selection at one budget."""
    selection = rdp.solve(table, minimize="mse", at_most={"bpp": budget}, points=points_of(encoder))
    single = best_single_point(selection.problem)
    mixture = time_shared_mixture(selection.problem, selection.averages)
    images = selection.problem.shape[0]
    rows = []
    if single.found:
        counts = counts_by_qp({p: images * s for p, s in single.shares.items()})
        rows.append(Row(encoder, budget, where, "best single QP", dict(single.averages), counts))
    if mixture.found:
        counts = counts_by_qp({p: images * s for p, s in mixture.shares.items()})
        rows.append(Row(encoder, budget, where, "mixture at the selection's rate", dict(mixture.averages), counts))
    counts = counts_by_qp({p: float(n) for p, n in selection.counts().items()})
    rows.append(Row(encoder, budget, where, "selection", dict(selection.averages), counts))
    return rows


def budgets_of(table: rdp.CellTable, encoder: str) -> list[tuple[float, str]]:
    """Halfway between neighbouring QPs' mean rates, and at each QP's own."""
    frame = table.to_pandas()
    chosen = frame[frame.point.str.startswith("bpg:") & frame.point.str.contains(f"encoder={encoder}")]
    rates = chosen.groupby(chosen.point.map(qp_of)).bpp.mean()
    between = [((rates[qp] + rates[qp + 1]) / 2, f"between QP {qp} and {qp + 1}") for qp in reversed(QPS[:-1])]
    own = [(rates[qp], f"rate of QP {qp}") for qp in reversed(QPS)]
    return [*between, *own]


def least_worst(table: rdp.CellTable, points: list[str], budget: float) -> rdp.Selection:
    """The selection whose worst image has the least mean squared error, within an average rate.

    A bound on every image leaves each image its cheapest point within it, so the least bound that the budget can pay is
    found by bisection over the errors that occur; among selections that keep it, the one of least mean error is taken.
    """
    cells = rdp.solve(table, minimize="bpp", points=points).problem
    errors = np.unique(cells.terms["mse"].values[cells.present])
    low, high = 0, len(errors) - 1
    while low < high:
        middle = (low + high) // 2
        cheapest = rdp.solve(table, minimize="bpp", each_at_most={"mse": float(errors[middle])}, points=points)
        if cheapest.found and cheapest.objective is not None and cheapest.objective <= budget:
            high = middle
        else:
            low = middle + 1
    bound = {"mse": float(errors[low])}
    return rdp.solve(table, minimize="mse", at_most={"bpp": budget}, each_at_most=bound, points=points)


def objectives(table: rdp.CellTable, encoder: str, budget: float) -> pd.DataFrame:
    """What other objectives give at one budget, beside the mixture at the same rate."""
    points = points_of(encoder)
    solved = {
        "mean MSE": rdp.solve(table, minimize="mse", at_most={"bpp": budget}, points=points),
        "MSE of the worst image": least_worst(table, points, budget),
        "MS-SSIM (dB)": rdp.solve(table, maximize="ms_ssim_db", at_most={"bpp": budget}, points=points),
        "HaarPSI": rdp.solve(table, maximize="haarpsi", at_most={"bpp": budget}, points=points),
        "LPIPS (Squeeze)": rdp.solve(table, minimize="lpips_squeeze", at_most={"bpp": budget}, points=points),
    }
    problem = solved["mean MSE"].problem
    mixture = time_shared_mixture(problem, {"bpp": budget})
    worst = {name: float(s.problem.terms["mse"].picked(s.required_choice).max()) for name, s in solved.items()}
    worst_single = max(float(problem.terms["mse"].picked(part.choice).max()) for part in mixture.parts)
    rows = [{"optimised": "(mixture of single QPs)", **_quality(dict(mixture.averages), worst_single)}]
    rows += [{"optimised": name, **_quality(dict(s.averages), worst[name])} for name, s in solved.items()]
    return pd.DataFrame(rows)


def _quality(averages: dict[str, float], worst: float) -> dict[str, float]:
    names = ("bpp", "ms_ssim_db", "haarpsi", "lpips_squeeze")
    return {
        "psnr_of_mean_mse": psnr_of(averages["mse"]),
        "psnr_of_worst_image": psnr_of(worst),
        **{name: averages[name] for name in names},
    }


def pools(table: rdp.CellTable, budget: float) -> pd.DataFrame:
    """The selection over growing pools of codecs, against the mixture of single points of the same pool."""
    rows = []
    for objective, goal in (("mse", "minimize"), ("ms_ssim_db", "maximize"), ("lpips_squeeze", "minimize")):
        for pool, points in POOLS.items():
            selection = rdp.solve(table, **{goal: objective}, at_most={"bpp": budget}, points=points)
            mixture = time_shared_mixture(selection.problem, selection.averages)
            value, other = selection.averages[objective], mixture.averages[objective]
            families = pd.Series(list(selection.chosen.values())).str.split(":").str[0].value_counts()
            rows.append(
                {
                    "objective": objective,
                    "pool": pool,
                    "bpp": selection.averages["bpp"],
                    "mixture": psnr_of(other) if objective == "mse" else other,
                    "selection": psnr_of(value) if objective == "mse" else value,
                    "gap": selection.gap,
                    "chosen": ", ".join(f"{n} {family}" for family, n in families.items()),
                }
            )
    return pd.DataFrame(rows)


def markdown(frame: pd.DataFrame, digits: dict[str, int]) -> str:
    """A Markdown table, numbers rounded by column."""

    def text(name: str, value: object) -> str:
        if not isinstance(value, (int, float)):
            return str(value)
        return "" if math.isnan(value) else f"{value:.{digits.get(name, 3)}f}"

    lines = ["| " + " | ".join(map(str, frame.columns)) + " |", "|" + "---|" * len(frame.columns)]
    for row in frame.to_dict("records"):
        lines.append("| " + " | ".join(text(str(name), value) for name, value in row.items()) + " |")
    return "\n".join(lines)


DIGITS = {"psnr_of_mean_mse": 3, "bpp": 4, "budget": 4, "mse": 2, "ms_ssim": 4, "lpips_squeeze": 4, "haarpsi": 4} | {
    f"QP {qp}": 1 for qp in QPS
}


def write(name: str, frame: pd.DataFrame) -> None:
    RESULTS.mkdir(exist_ok=True)
    frame.to_csv(RESULTS / f"{name}.csv", index=False, float_format="%.8g")
    (RESULTS / f"{name}.md").write_text(markdown(frame, DIGITS) + "\n")
    print(f"\n{name}\n{markdown(frame, DIGITS)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, default=Path("../shared/data/kodak"))
    parser.add_argument("--weights", type=Path, default=Path("../shared/weights"))
    parser.add_argument("--out", type=Path, default=Path("out/rate_allocation"))
    options = parser.parse_args()
    if options.weights.is_dir():
        os.environ.setdefault("RDP_WEIGHTS", str(options.weights.absolute()))
    run = rdp.evaluate(options.images, CODECS, METRICS, options.out / "run", progress=Terminal())
    table = run.table()
    rows: list[Row] = []
    for encoder in ENCODERS:
        for budget, where in budgets_of(table, encoder):
            rows += allocate(table, encoder, budget, where)
    write("allocation", pd.DataFrame([row.record() for row in rows]))
    for encoder in ENCODERS:
        budget, _ = budgets_of(table, encoder)[1]
        write(f"objectives_{encoder}", objectives(table, encoder, budget))
    write("pools", pools(table, budgets_of(table, "hm")[1][0]))


if __name__ == "__main__":
    main()

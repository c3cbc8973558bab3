"""Decoders of frozen encoders along the perception-distortion curve, and rate and decoder chosen together.

    .venv/bin/python studies/pd_sweep/study.py --images FOLDER [--more FOLDER …] --run RUN --out OUT --decoders FOLDER

Every set of images gets a folder of its own in OUT, with pd_points, pd_gains, pd_knees, pd_judges, pd_selections,
pd_joint (CSV, Markdown), pd_lpips_psnr.png, pd_lpips_ssim.png, pd_crops.png and pd_frontiers.png; the README of this
folder says what they hold. What the run folder has is not computed again.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from crops import chosen_knee, crops_of, draw_crops
from figures import draw_frontiers, draw_plane
from joint import gains_table as joint_gains
from joint import selections_table, solve_all
from knees import find_knees, front_of, gains_table, judges_table, knees_table, set_distances
from shared import HERE, options_of, parser_of, save_figure, write_table
from sweep import Swept, metrics_of, points_table, present, read_plan, sweep

from rdp.errors import SpecError

DIGITS = {
    "bpp": 4, "bpp_of_files": 4, "rate_budget": 4, "lpips_budget": 4, "psnr": 2, "ssim": 4, "ms_ssim": 4, "haarpsi": 4,
    "lpips_squeeze": 4, "lpips_alex": 4, "lpips_vgg": 4, "swd": 4, "lpips_reduction_percent": 1, "reduction_low": 1,
    "reduction_high": 1, "share_percent": 0, "mse": 4, "at_knee": 4, "change": 4, "low": 4, "high": 4, "percent": 1,
    "decoders_used": 0, "points_used": 0, "haarpsi_change": 4, "haarpsi_low": 4, "haarpsi_high": 4, "naming_bits": 2,
    "rate_only_needs_bpp": 4,
}  # fmt: skip


def study_parser() -> argparse.ArgumentParser:
    """The options of the studies of the shipped weights, and those of this one."""
    parser: argparse.ArgumentParser = parser_of(__doc__)
    parser.set_defaults(models=HERE / "decoders.toml", run=Path("out/pd_sweep/run"), out=Path("out/pd_sweep/results"))
    parser.add_argument("--more", type=Path, nargs="+", action="extend", default=[], help="further sets of images")
    parser.add_argument("--decoders", type=Path, help="folder of decoders, as `rdp finetune` writes it")
    parser.add_argument("--rates", type=float, nargs="+", help="average rates (bit/pixel) at which is selected")
    parser.add_argument("--budgets", type=int, default=10, help="LPIPS budgets at each rate")
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--projections", type=int, default=256, help="directions of the distance; 0 leaves it out")
    parser.add_argument("--no-encode-anew", dest="encode_anew", action="store_false", help="trust the run's hashes")
    parser.add_argument("--seed", type=int, default=0, help="of patches, directions and resamples")
    parser.add_argument("--crop-rate", help="which network the crops are of; default: the middle one")
    parser.add_argument("--crop-side", type=int, default=160)
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    options = options_of(study_parser(), arguments)
    if options.decoders is not None:
        folders = [str(options.decoders.absolute()), os.environ.get("RDP_WEIGHTS", "")]
        os.environ["RDP_WEIGHTS"] = os.pathsep.join(folder for folder in folders if folder)
    if options.budgets < 1:
        raise SpecError(f"--budgets {options.budgets}: give 1 or more")
    sets = [options.images, *options.more]
    names = [folder.resolve().name for folder in sets]
    if len(set(names)) < len(names):
        raise SpecError(f"--images, --more: two sets are called the same ({', '.join(names)}): rename a folder")
    plan = present(read_plan(options.models))
    metrics = metrics_of(plan.teacher)
    for folder in sets:
        report(sweep(folder, plan, metrics, options), options.out / folder.resolve().name)


def report(swept: Swept, out: Path) -> None:
    """All tables and figures of one set of images."""
    print(f"\n{swept.name}: {len(swept.rows(swept.plan.bases[0].own))} images")
    planes = {x: find_knees(swept, x) for x in ("psnr", "ssim")}
    knees = [knee for plane in planes.values() for knee in plane]
    values, sets = set_distances(swept, knees) if swept.options.projections else ({}, {})
    beaten = {name: by for base in swept.plan.bases for name, by in front_of(swept, base, "psnr")[1].items()}
    write_table(out, "pd_points", points_table(swept, beaten, values), DIGITS)
    write_table(out, "pd_gains", gains_table(swept), DIGITS)
    judges = judges_table(swept, knees, sets)
    write_table(out, "pd_knees", knees_table(swept, knees, judges), DIGITS)
    write_table(out, "pd_judges", judges, DIGITS)
    for x, plane in planes.items():
        save_figure(draw_plane(swept, plane), out, f"pd_lpips_{x}")
    shown = chosen_knee(planes["psnr"], swept.options.crop_rate)
    if shown is None:
        print("no crops: there is no knee at the rate of the crops")
    else:
        save_figure(draw_crops(crops_of(swept, shown)), out, "pd_crops")
    answers = solve_all(swept)
    write_table(out, "pd_selections", selections_table(swept, answers), DIGITS | {"bpp": 6, "bpp_of_files": 6})
    write_table(out, "pd_joint", joint_gains(swept, answers), DIGITS)
    save_figure(draw_frontiers(swept, answers), out, "pd_frontiers")


if __name__ == "__main__":
    main()

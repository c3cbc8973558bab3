"""The report as one Markdown text: what was asked, what came out, the tables, the figure, what the numbers are."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rdp.report.averages import Average, average_of
from rdp.report.budget_words import budgets_table, held_words, limits_asked, unspent_words, weighted
from rdp.report.frames import gain_over
from rdp.report.markdown import code, escape, markdown_table, markdown_text
from rdp.report.study import Reported, Study
from rdp.report.tables import comparison_table, sense_words
from rdp.report.text import TextTable, general, percent, shares_text
from rdp.selection import Problem, Status
from rdp.selection.baselines import Baseline
from rdp.selection.decoder_cost import DecoderCost

_STATUS = {
    Status.OPTIMAL: "no selection is better, within the gap that is stated",
    Status.FEASIBLE: "it is within the budgets, and no more than the gap away from the best",
    Status.INFEASIBLE: "proven: no selection is within the budgets",
    Status.UNKNOWN: "neither a selection nor a proof that there is none was found in time",
}


def report_text(
    study: Study,
    points: TextTable,
    figures: Sequence[str],
    figure_notes: Sequence[str],
    files: Sequence[tuple[str, str]],
) -> str:
    """The whole report. `figures` are the names of its picture files, the first of which is shown."""
    parts = [f"# {escape(study.title)}", _about(study)]
    for one in study.selections:
        parts.append(_selection_part(study, one))
    parts += ["## Operating points", markdown_table(points).rstrip()]
    parts += _figure_part(study, figures, figure_notes)
    parts += ["## Which average is which", _definitions(study.averages)]
    parts += ["## Files", "\n".join(f"- {code(name)}: {escape(what)}" for name, what in files)]
    return "\n\n".join(parts) + "\n"


def asked(problem: Problem) -> str:
    """What a problem asks for, as a sentence of Markdown."""
    statement = problem.statement
    goal = "Minimise" if problem.goal == "minimize" else "Maximise"
    text = f"{goal} the average {code(problem.objective.column)}{weighted(problem, problem.objective.column)}"
    limits = limits_asked(problem)
    text += (", with " + " and ".join(limits) if limits else ", without a budget") + "."
    extras = [
        f"{code(column)} of each image {sense_words(sense)} {bound:g}"
        for column, sense, bound in statement.image_bounds
    ]
    extras += [f"values of {code(column)} above {cap:g} count as {cap:g}" for column, cap in statement.cap.items()]
    if statement.points:
        extras.append("only points of " + " ".join(code(pattern) for pattern in statement.points))
    if problem.max_points is not None:
        extras.append(f"no more than {problem.max_points} distinct point{_s(problem.max_points)} in all")
    if problem.index_cost is not None:
        charged = " and ".join(code(column) for column in problem.index_cost.added)
        extras.append(f"side information counts in {charged}")
    if isinstance(problem.naming, DecoderCost):
        charged = " and ".join(code(column) for column in problem.naming.columns)
        extras.append(f"the bits that name an image's decoder count in {charged}")
    elif problem.statement.decoder_info is False:
        extras.append("points share files, and the bits that name an image's decoder are left out")
    extras += [f"{len(statement.fix)} images fixed"] if statement.fix else []
    extras += [f"{len(statement.forbid)} choices forbidden"] if statement.forbid else []
    return text + (f" Also: {'; '.join(extras)}." if extras else "")


def _about(study: Study) -> str:
    grid = study.cells.grid
    datasets = sorted(set(grid.datasets))
    images, points = grid.shape
    text = f"Table {code(study.source)}: {images} image{_s(images)}, {points} operating point{_s(points)}, "
    text += f"dataset{_s(len(datasets))} {', '.join(code(name) for name in datasets)}."
    failed = int(grid.failed.sum())
    return text + (f" {failed} of {images * points} cells failed and are left out." if failed else "")


def _s(count: int) -> str:
    return "" if count == 1 else "s"


def _selection_part(study: Study, one: Reported) -> str:
    selection, problem = one.selection, one.selection.problem
    heading = "## Selection" if len(study.selections) == 1 else f"## Selection {escape(one.name)}"
    lines = [heading, asked(problem)]
    lines.append(f"**{selection.status.value.upper()}** ({escape(selection.solver)}): {_STATUS[selection.status]}.")
    lines += [f"- {escape(warning)}" for warning in selection.warnings]
    if not selection.found:
        lines.append("```text\n" + selection.explanation.replace("```", "'''") + "\n```")
        lines.append(_baseline_sentence(study, one, "best single point within the budgets", one.single))
        return "\n\n".join(lines)
    objective = code(problem.objective.column)
    lines.append(
        f"Average {objective} {general(selection.objective).text}, bound {general(selection.bound).text}, "
        f"gap {general(selection.gap, 2).text}."
    )
    if selection.budgets:
        lines.append(markdown_table(budgets_table(selection.budgets)).rstrip())
    lines.append(markdown_table(comparison_table(study, one)).rstrip())
    lines.append(_baseline_sentence(study, one, "best single point within the budgets", one.single))
    lines.append(_baseline_sentence(study, one, "time-shared mixture of single points", one.mixture))
    return "\n\n".join(lines)


def _baseline_sentence(study: Study, one: Reported, name: str, baseline: Baseline | None) -> str:
    """What the baseline is, what the selection gains in its objective, and what could not take part."""
    if baseline is None:
        return ""
    problem = one.selection.problem
    if not baseline.found:
        return f"There is no {name}: {escape(baseline.reason)}.{_left_out(study, baseline)}"
    shares = [(study.names[point], share) for point, share in baseline.shares.items()]
    which = markdown_text(shares_text(shares)) if len(shares) > 1 else code(shares[0][0])
    text = f"The {name} is {which}"
    if not one.selection.found:
        return text + "." + _left_out(study, baseline)
    text += ": " + _gain_words(study, one, baseline)
    if baseline is one.mixture:
        return text + " Images draw their point at random." + held_words(one.selection.budgets, problem, baseline)
    unspent = unspent_words(problem.constraints, baseline)
    text += f" It leaves unspent {unspent}." if unspent else ""
    if problem.index_cost is not None and baseline.index_bits < problem.index_cost.bits:
        text += " Its side information is one number for all images."
    if isinstance(problem.naming, DecoderCost) and baseline.once:
        text += " All images have its decoder, which takes no bits."
    return text + _left_out(study, baseline)


def _gain_words(study: Study, one: Reported, baseline: Baseline) -> str:
    problem = one.selection.problem
    column = problem.objective.column
    value, other = one.selection.averages[column], baseline.averages[column]
    average = average_of(study.averages, problem, column)
    unit = average.unit if average is not None else ""
    better = (value <= other) if problem.goal == "minimize" else (value >= other)
    size = abs(value - other)
    relative = size / other if other > 0 and value >= 0 and unit != "dB" and math.isfinite(size) else None
    part = "" if relative is None else f" ({percent(relative, sign=False)})"
    amount = f"{size:.4g} {unit}" if unit else f"{size:.4g}"
    text = f"the selection's {code(column)} is {amount}{part} {'better' if better else 'worse'}"
    psnr = next((a for a in study.averages if a.transform == "psnr"), None)
    if column == "mse" and psnr is not None:
        won = gain_over(psnr, study.value(psnr, one.own), study.value(psnr, one.shares(baseline)))
        if math.isfinite(won.absolute):
            text += f", {won.absolute:+.3f} dB in the PSNR of the mean MSE"
    return text + "."


def _left_out(study: Study, baseline: Baseline) -> str:
    if not baseline.left_out:
        return ""
    listed = [f"{code(study.names[point])} ({reason})" for point, reason in baseline.left_out.items()]
    more = f" and {len(listed) - 5} more" if len(listed) > 5 else ""
    return f" These take no part, as not every image may have them: {', '.join(listed[:5])}{more}."


def _figure_part(study: Study, figures: Sequence[str], notes: Sequence[str]) -> list[str]:
    if not figures:
        return ["## Figure", *(escape(note) for note in notes)] if notes else []
    shown = next((name for name in figures if name.endswith(".png")), None)
    words = (
        "Averages over the images at each operating point. The dashed line is what mixtures of single points reach; "
        "dotted lines are budgets."
    )
    picture = [f"![Average rate against quality]({shown})"] if shown else []
    return ["## Figure", *picture, words, *(escape(note) for note in notes)]


def _definitions(averages: Sequence[Average]) -> str:
    return "\n".join(
        f"- {code(average.key)}, {escape(average.heading)}: {escape(average.meaning)}" for average in averages
    )

"""`compare.html`: a comparison as one self-contained page, in the style of a run's `report.html`.

Everything that comes from the runs (names of groups, folders, values of keys) is escaped by the template.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from nasrun.core.averages import exact_mean
from nasrun.core.options import show
from nasrun.core.words import counted
from nasrun.reports.compare import anytime
from nasrun.reports.compare import tables as tables
from nasrun.reports.compare.checklist import Answer
from nasrun.reports.compare.curves import Curve
from nasrun.reports.compare.further_plots import rows_of_fronts
from nasrun.reports.compare.numbers import Measure, budget, random_average
from nasrun.reports.compare.plots import CURVE_PICTURES
from nasrun.reports.compare.question import PLAIN, Question
from nasrun.reports.compare.runs import Comparison
from nasrun.reports.compare.sizes import READING, size_cells, size_rows, sizes
from nasrun.reports.page import Plot, as_svg, data_address, render
from nasrun.reports.summary import duration
from nasrun.reports.tables import csv_text
from nasrun.storage.records import write_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAGE = "compare.html"
TEMPLATE = "compare.html.jinja"

CAPTIONS = {
    "incumbent_trials": "Best so far over trials: mean over seeds, with its 95 % interval",
    "incumbent_seconds": "Best so far over time: mean over seeds, with its 95 % interval",
    "incumbent_epochs": "Best so far over the epochs that were trained: mean over seeds, with its 95 % interval",
    "regret_trials": "Distance of the best so far to the best of the table: mean over seeds, with its 95 % interval",
    "hypervolume_trials": "Hypervolume of the front over trials: mean over seeds, with its 95 % interval",
    "front": "Fronts: what half of the runs attain, and the best of all runs",
    "heat": "Means over seeds by two keys",
    "final": "Every run, with mean and 95 % interval",
    "critical_difference": "Average ranks; a bar joins groups that do not differ (Nemenyi, 5 %)",
}


class Cell(NamedTuple):
    """A cell of a table, shown as `text` and sorted by the number `sort`."""

    text: str
    sort: float | str


class Section(NamedTuple):
    """The page's section on one measure. `pairs`: None if its tests are those of another measure, or there are none.

    The data are `data:` addresses of CSV files with all digits.
    """

    name: str
    heading: str
    table: Sequence[Sequence[object]]
    table_data: str
    pairs: Sequence[Sequence[object]] | None
    pairs_data: str
    omnibus: str
    plots: Sequence[Plot]


def write_page(
    folder: Path,
    comparison: Comparison,
    measures: Sequence[Measure],
    curves: Mapping[str, Mapping[str, Curve]],
    figures: "Mapping[str, Figure]",
    answers: Sequence[Answer] | None = None,
    question: Question = PLAIN,
) -> Path:
    """Write `compare.html` into a folder and return its path; OSError passes through.

    `curves`: by name (`trials`, `seconds`), then by group. `figures`: those of `compare_plots.draw`, by name; their
    background is cleared. `answers`: the checklist, if it was asked for.
    """
    run, length = comparison.runs[0], budget(comparison)
    chosen = [run.choices.get(group) for group in ("search_space", "dataset", "evaluator")]
    groups = ", ".join(f"{name} ({len(runs)})" for name, runs in comparison.groups.items())
    content = {
        "title": " · ".join(str(name) for name in chosen if name) or "Comparison",
        "lead": f"{counted(len(comparison.runs), 'run')} by {', '.join(comparison.by)}: {groups}. Benchmark "
        f"{comparison.benchmark}, compared by {comparison.objective.metric} after {counted(length, 'trial')}.",
        "remarks": comparison.remarks,
        "facts": list(_facts(comparison, measures[0])),
        "curves": [
            picture(CURVE_PICTURES[name], figures[CURVE_PICTURES[name]], tables.points(name, found))
            for name, found in curves.items()
        ],
        "progress": _progress(comparison, measures[0], question),
        "more": [
            picture(name, figure, _numbers_of(name, comparison, measures))
            for name, figure in figures.items()
            if name.startswith(("heat_", "front"))
        ],
        "sections": [_section(measure, figures) for measure in measures],
        "sizes": _sizes(comparison),
        "runs": list(_runs(comparison, measures)),
        "runs_data": data_address(csv_text(list(tables.runs(comparison, measures)))),
        "checklist": _checklist(answers),
        "reading": tables.reading(question),
        "benchmark": "\n".join(f"{key}: {show(value)}" for key, value in run.benchmark.items()),
        "left_out": ", ".join(comparison.by),
    }
    path = folder / PAGE
    write_text(path, render(TEMPLATE, content))
    return path


def _facts(comparison: Comparison, measure: Measure) -> Iterator[tuple[str, str]]:
    """The key numbers at the top."""
    scale = tables.factor(measure)
    if measure.rows:
        best = measure.rows[0]
        yield f"best by mean {tables.heading(measure)}", best.group
        spread = "" if best.deviation is None else f" (sd {tables.digits(scale * best.deviation)})"
        yield f"its mean{spread}", tables.digits(scale * best.mean)
    average = random_average(comparison)
    if average is not None:
        yield f"average of {counted(average[1], 'random architecture')}", tables.digits(scale * average[0])
        if measure.rows and measure.rows[0].gain is not None:
            yield "better than that by", f"{scale * measure.rows[0].gain:+.4g}"
    yield "seeds in common", str(len(comparison.seeds))
    yield "time of all runs", duration(sum(run.wall_seconds for run in comparison.runs))


def picture(name: str, figure: "Figure", rows: Iterable[Sequence[object]]) -> Plot:
    """A plot with its caption and its data, with a header row."""
    caption = CAPTIONS.get(name) or next(text for kind, text in CAPTIONS.items() if name.startswith(kind))
    return Plot(name, caption, as_svg(figure, name, caption), data_address(csv_text(list(rows))))


def _numbers_of(name: str, comparison: Comparison, measures: Sequence[Measure]) -> Iterable[Sequence[object]]:
    """The data of a heat map or a plot of fronts, with a header row."""
    keys = tables.keys_of(comparison)
    if name.startswith("front"):
        return tables.with_keys(rows_of_fronts(comparison), keys, ("group",))
    shown = [measure for measure in measures if name == f"heat_{measure.name}"]
    return tables.with_keys(tables.rows(shown), keys, ("group",))


def _progress(comparison: Comparison, measure: Measure, question: Question) -> dict[str, object]:
    """The progress of the groups: the area under the curve, and the time to the target."""
    found, target = anytime.progress(comparison, question.target), anytime.target_of(comparison, question)
    head, *shown = tables.progress_cells(found, measure)
    rows: list[list[object]] = [list(head)]
    for one, texts in zip(found, shown, strict=True):
        values = [exact_mean(one.area), one.count, one.median]
        rows.append([texts[0], *(cell(text, value) for text, value in zip(texts[1:], values, strict=False))])
    scale = tables.factor(measure)
    aim = "" if target is None else f"The target is {tables.digits(scale * target)}."
    return {"table": rows, "target": aim, "data": data_address(csv_text(list(anytime.rows(found, target))))}


def _section(measure: Measure, figures: "Mapping[str, Figure]") -> Section:
    final, ranks = f"final_{measure.name}", f"critical_difference_{measure.name}"
    values = [[group, seed, value] for group, found in measure.values.items() for seed, value in found.items()]
    plots = [picture(final, figures[final], [["group", "seed", measure.name], *values])]
    if ranks in figures:
        ranked = [[row.group, row.rank, measure.critical_difference] for row in measure.rows if row.rank is not None]
        plots.append(picture(ranks, figures[ranks], [["group", "average_rank", "critical_difference"], *ranked]))
    tested = bool(measure.tests) and not tables.repeats_tests(measure)
    return Section(
        measure.name,
        tables.heading(measure),
        _table(measure),
        data_address(csv_text(list(tables.rows([measure])))),
        _pairs(measure) if tested else None,
        data_address(csv_text(list(tables.pairs([measure])))) if tested else "",
        tables.omnibus(measure) if tested else "",
        plots,
    )


def _table(measure: Measure) -> list[list[object]]:
    """The table over seeds, each number with its sort key."""
    head, *shown = tables.cells(measure)
    result: list[list[object]] = [list(head)]
    for row, texts in zip(measure.rows, shown, strict=True):
        values = [row.seeds, row.mean, row.iqm, row.low, row.best, row.rank, row.gain]
        result.append([texts[0], *(cell(text, value) for text, value in zip(texts[1:], values, strict=False))])
    return result


def _pairs(measure: Measure) -> list[list[object]]:
    head, *shown = tables.pair_cells(measure)
    result: list[list[object]] = [list(head)]
    for test, texts in zip(measure.tests, shown, strict=True):
        values = [test.pairs, test.difference, test.p, test.p_holm, test.cohen_d, test.a12]
        result.append([texts[0], *(cell(text, value) for text, value in zip(texts[1:], values, strict=True))])
    return result


def cell(text: str, value: float | None) -> Cell:
    """A number for sorting in JavaScript; without a number, an empty key, which is sorted last."""
    if value is None or math.isnan(value):
        return Cell(text, "")
    return Cell(text, value if math.isfinite(value) else math.copysign(1, value) * 1e308)


def _runs(comparison: Comparison, measures: Sequence[Measure]) -> Iterator[list[object]]:
    """Each run, with its folder and its results."""
    head, *found = tables.runs(comparison, measures)
    scales = [tables.factor(measure) for measure in measures]
    yield [*head[:7], *map(tables.heading, measures)]
    for group, seed, directory, trials, seconds, parameters, flops, *values in found:
        shown = [cell(tables.digits(scale * value), value) for scale, value in zip(scales, values, strict=True)]
        counts = [cell("-" if number is None else f"{number:,}", number) for number in (parameters, flops)]
        yield [group, seed, str(directory), trials, cell(tables.digits(seconds), seconds), *counts, *shown]


def _sizes(comparison: Comparison) -> dict[str, object] | None:
    """For runs under different limits: the sizes of their networks, and the front; None for others."""
    found = sizes(comparison)
    if not found:
        return None
    head, *shown = size_cells(found)
    rows: list[list[object]] = [list(head)]
    for one, texts in zip(found, shown, strict=True):
        values = (one.seeds, one.parameters, one.flops, one.value)
        cells = [cell(text, value) for text, value in zip(texts[1:-1], values, strict=True)]
        rows.append([texts[0], *cells, texts[-1]])
    return {"table": rows, "data": data_address(csv_text(list(size_rows(found)))), "reading": READING}


def _checklist(answers: Sequence[Answer] | None) -> list[list[object]] | None:
    rows: list[list[object]] = [[a.part, a.question, a.reply, a.evidence.replace("`", "")] for a in answers or ()]
    return [["part", "point", "answer", "evidence"], *rows] if rows else None

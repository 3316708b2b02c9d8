"""A comparison as tables: on the console, as CSV, Markdown and LaTeX, all from the same cells."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nasrun.core.options import printable
from nasrun.reports.compare.numbers import Curve, Measure, Row, Test, budget, random_average
from nasrun.reports.compare.runs import Comparison
from nasrun.reports.compare.sizes import NAME, size_cells, size_rows, sizes
from nasrun.reports.compare.sizes import READING as SIZES
from nasrun.reports.tables import csv_text, markdown, one_line
from nasrun.storage.records import write_text

HEAD = ("group", "seeds", "mean ± sd", "IQM", "95 % interval", "best", "rank")
GAIN = "over random"
READING = (
    "Mean, interquartile mean (IQM) and 95 % percentile bootstrap interval of the mean are over seeds. Pairs: "
    "two-sided paired permutation test over common seeds, corrected by Holm's method within each table; Cohen's d "
    "of the paired differences; A12 of Vargha and Delaney, the chance that a run of the first is the better one."
)
"""What the columns mean, below the tables."""
PAIR_HEAD = ("pair, better first", "seeds", "difference", "p", "p (Holm)", "Cohen d", "A12")


def factor(measure: Measure) -> float:
    """What values are multiplied with to be shown: accuracies and regrets that are shares are shown in percent."""
    shares = all(abs(value) <= 1 for found in measure.values.values() for value in found.values())
    return 100.0 if shares and measure.name.endswith(("accuracy", "regret")) else 1.0


def heading(measure: Measure) -> str:
    """The name of a measure with its unit."""
    return f"{measure.name} (%)" if factor(measure) == 100 else measure.name


def cells(measure: Measure) -> list[tuple[str, ...]]:
    """The table of a measure as text, the head first."""
    scale, gains = factor(measure), any(row.gain is not None for row in measure.rows)
    return [(*HEAD, GAIN) if gains else HEAD, *(_cells(row, scale, gains) for row in measure.rows)]


def _cells(row: Row, scale: float, gains: bool) -> tuple[str, ...]:
    def show(value: float) -> str:
        return digits(scale * value)

    spread = "" if row.deviation is None else f" ± {show(row.deviation)}"
    rank = "-" if row.rank is None else f"{row.rank:.2f}"
    gain = ("-" if row.gain is None else f"{scale * row.gain:+.4g}",) if gains else ()
    interval = f"[{show(row.low)}, {show(row.high)}]"
    return (row.group, str(row.seeds), show(row.mean) + spread, show(row.iqm), interval, show(row.best), rank, *gain)


def pair_cells(measure: Measure) -> list[tuple[str, ...]]:
    """The tests of a measure as text, the head first."""
    scale = factor(measure)
    return [PAIR_HEAD, *(_pair(test, scale) for test in measure.tests)]


def _pair(test: Test, scale: float) -> tuple[str, ...]:
    effect = f"{test.cohen_d:.2f}" if math.isfinite(test.cohen_d) else "inf"
    difference = f"{scale * test.difference + 0.0:+.4g}"
    p_values = (f"{test.p:.3g}", f"{test.p_holm:.3g}")
    return (f"{test.first} - {test.second}", str(test.pairs), difference, *p_values, effect, f"{test.a12:.2f}")


def digits(value: float) -> str:
    """A number with three decimals, or four digits where that would say nothing."""
    return f"{value:.3f}" if value == 0 or 0.001 <= abs(value) < 10_000 else f"{value:.4g}"


def summary_lines(comparison: Comparison) -> list[str]:
    """What was compared, in a few lines."""
    groups = ", ".join(f"{name} ({len(runs)})" for name, runs in comparison.groups.items())
    lines = [
        f"{len(comparison.runs)} runs by {', '.join(comparison.by)}: {groups}",
        f"benchmark {comparison.benchmark}: {_benchmark(comparison)}",
    ]
    average = random_average(comparison)
    if average is not None:
        value = 100 * average[0] if comparison.objective.metric.endswith("accuracy") else average[0]
        lines.append(f"average random architecture: {digits(value)} ({average[1]} different ones)")
    return lines


def _benchmark(comparison: Comparison) -> str:
    run = comparison.runs[0]
    chosen = [run.choices.get(group) for group in ("search_space", "dataset", "evaluator")]
    parts = [str(name) for name in chosen if name]
    return f"{', '.join(parts)}; {comparison.objective.metric} after {budget(comparison)} trials"


def omnibus(measure: Measure) -> str:
    """What Friedman's test and Nemenyi's difference say of a measure; empty where they cannot be made."""
    if measure.friedman is None or measure.critical_difference is None:
        return ""
    return (
        f"Friedman test that all are alike: p = {measure.friedman:.3g}; average ranks differ from "
        f"{measure.critical_difference:.2f} on (Nemenyi, 5 %)."
    )


def repeats_tests(measure: Measure) -> bool:
    """Whether its tests are those of another measure: a regret is an accuracy turned round, less a constant."""
    return measure.name.endswith("_regret")


def print_tables(comparison: Comparison, measures: Sequence[Measure]) -> None:
    """The tables on stdout; on a terminal as wide as that, elsewhere as wide as they are."""
    from rich.console import Console
    from rich.table import Table

    class Tables(Console):
        def on_broken_pipe(self) -> None:  # rich's own ends the process with exit code 1
            raise BrokenPipeError

    console = Tables(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = 200

    def add_table(title: str, rows: Sequence[Sequence[str]]) -> None:
        table = Table(title=title, title_justify="left")
        for place, name in enumerate(rows[0]):
            table.add_column(name, justify="right" if place else "left")
        for row in rows[1:]:
            table.add_row(*row)
        console.print(table)

    for line in summary_lines(comparison):
        console.print(printable(line))
    for measure in measures:
        tables = [(heading(measure), cells(measure))]
        if not repeats_tests(measure):
            tables.append((f"{heading(measure)}: pairs", pair_cells(measure)))
        for title, rows in tables:
            if len(rows) > 1:
                add_table(title, rows)
        if len(tables) > 1 and omnibus(measure):
            console.print(omnibus(measure))
    if sized := sizes(comparison):
        add_table("sizes", size_cells(sized))


def write_tables(
    folder: Path,
    comparison: Comparison,
    measures: Sequence[Measure],
    curves: Mapping[str, Mapping[str, Curve]],
    pictures: Sequence[str],
) -> None:
    """Write `compare.csv`, `pairs.csv`, `runs.csv`, a CSV per set of curves, `compare.md` and `compare.tex`.

    `curves`: by name (`trials`, `seconds`), then by group. `pictures`: file names to show in the Markdown.
    """
    write_text(folder / "compare.csv", csv_text(rows(measures)))
    write_text(folder / "pairs.csv", csv_text(pairs(measures)))
    write_text(folder / "runs.csv", csv_text(runs(comparison, measures)))
    sized = sizes(comparison)
    if sized:
        write_text(folder / NAME, csv_text(list(size_rows(sized))))
    for name, found in curves.items():
        write_text(folder / f"curves_{name}.csv", csv_text(points(name, found)))
    write_text(folder / "compare.md", _markdown(comparison, measures, pictures))
    write_text(folder / "compare.tex", _latex(comparison, measures))


def rows(measures: Sequence[Measure]) -> Iterable[Sequence[object]]:
    """The tables with all digits, one below the other, headings first."""
    yield ["measure", *Row._fields]
    for measure in measures:
        for row in measure.rows:
            yield [measure.name, *row]


def pairs(measures: Sequence[Measure]) -> Iterable[Sequence[object]]:
    """The tests with all digits, headings first."""
    yield ["measure", *Test._fields]
    for measure in measures:
        for test in measure.tests:
            yield [measure.name, *test]


def runs(comparison: Comparison, measures: Sequence[Measure]) -> Iterable[tuple[Any, ...]]:
    """Every run with the final value of each measure, headings first."""
    heads = ("group", "seed", "directory", "trials", "seconds", "parameters", "flops")
    yield (*heads, *(measure.name for measure in measures))
    for group, found in comparison.groups.items():
        for run in found:
            values = [measure.values[group][run.seed] for measure in measures]
            known = (run.directory, len(run.values), run.wall_seconds, run.parameters, run.flops)
            yield (group, run.seed, *known, *values)


def points(name: str, curves: Mapping[str, Curve]) -> Iterable[Sequence[object]]:
    """The incumbents, over `name` (trials or seconds), headings first."""
    yield ["group", name, "mean", "low", "high"]
    for group, curve in curves.items():
        for row in zip(curve.x.tolist(), curve.mean.tolist(), curve.low.tolist(), curve.high.tolist(), strict=True):
            yield [group, *row]


def _markdown(comparison: Comparison, measures: Sequence[Measure], pictures: Sequence[str]) -> str:
    lines = [*summary_lines(comparison), *comparison.remarks]
    parts = ["# Comparison\n", "".join(f"- {markdown(line)}\n" for line in lines)]
    for measure in measures:
        parts.append(f"## {heading(measure)}\n")
        parts.append(_markdown_table(cells(measure)))
        if measure.tests:
            parts += [_markdown_table(pair_cells(measure)), omnibus(measure) + "\n"]
    if sized := sizes(comparison):
        parts += ["## Sizes\n", _markdown_table(size_cells(sized)), f"{SIZES}\n"]
    parts += [f"![{name.partition('.')[0].replace('_', ' ')}]({name})\n" for name in pictures]
    parts.append(f"{READING}\n")
    return "\n".join(parts)


def _markdown_table(rows: Sequence[Sequence[str]]) -> str:
    lines = [" | ".join(markdown(cell) for cell in row) for row in rows]
    lines.insert(1, " | ".join(["---", *["---:"] * (len(rows[0]) - 1)]))
    return "".join(f"| {line} |\n" for line in lines)


def _latex(comparison: Comparison, measures: Sequence[Measure]) -> str:
    """A table per measure, for LaTeX with the package booktabs; the best mean is bold."""
    parts = [f"% {one_line(line)}\n" for line in summary_lines(comparison)] + ["% needs \\usepackage{booktabs}\n"]
    for measure in measures:
        head, *rows = cells(measure)
        parts.append(f"\n% {heading(measure)}\n\\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}\n\\toprule\n")
        parts.append(" & ".join(map(_tex, head)) + " \\\\\n\\midrule\n")
        for place, row in enumerate(rows):
            shown = [_tex(cell) for cell in row]
            if place == 0:
                shown[2] = f"\\textbf{{{shown[2]}}}"
            parts.append(" & ".join(shown) + " \\\\\n")
        parts.append("\\bottomrule\n\\end{tabular}\n")
    return "".join(parts)


def _tex(text: str) -> str:
    special = {"\\": r"\textbackslash{}", "±": r"$\pm$", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    special |= {character: f"\\{character}" for character in "&%$#_{}"}
    return "".join(special.get(character, character) for character in text)

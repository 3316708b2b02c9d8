"""A comparison as tables: on the console, as CSV, Markdown and LaTeX, all from the same cells."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nasrun.core.averages import exact_mean
from nasrun.core.options import printable
from nasrun.core.words import counted
from nasrun.reports.compare import anytime
from nasrun.reports.compare import latex as tex
from nasrun.reports.compare.curves import Curve
from nasrun.reports.compare.numbers import Measure, Row, Test, budget, random_average
from nasrun.reports.compare.question import PLAIN, TESTS, Question, is_share
from nasrun.reports.compare.runs import Comparison
from nasrun.reports.compare.sizes import READING as SIZES
from nasrun.reports.compare.sizes import size_cells, size_rows, sizes
from nasrun.reports.tables import csv_text, markdown, one_line
from nasrun.storage.records import write_text

HEAD = ("group", "seeds", "mean ± sd", "IQM", "95 % interval", "best", "rank")
GAIN = "over random"
PAIR_HEAD = ("pair, better first", "seeds", "difference", "p", "p (Holm)", "Cohen d", "A12")


def reading(question: Question = PLAIN) -> str:
    """The explanation of the columns, below the tables."""
    others = "" if question.reference is None else f" of {question.reference} and each other group"
    deviation = "by the pooled deviation" if question.test == "mannwhitney" else "of the paired differences"
    return (
        "Mean, interquartile mean (IQM) and 95 % percentile bootstrap interval of the mean are over seeds. Pairs"
        f"{others}: {TESTS[question.test]}, corrected by Holm's method within each table; Cohen's d "
        f"{deviation}; A12 of Vargha and Delaney, the probability that a run of the first is better."
    )


def factor(measure: Measure) -> float:
    """The factor by which displayed values are multiplied: shares (accuracies and regrets) are shown in percent, very
    large and very small numbers with two digits before the point."""
    largest = max((abs(value) for found in measure.values.values() for value in found.values()), default=0.0)
    if measure.share:
        return 100.0
    if largest == 0 or not math.isfinite(largest) or 0.001 <= largest < 10_000:
        return 1.0
    return 10.0 ** (1 - math.floor(math.log10(largest)))


def unit(measure: Measure) -> str:
    """The unit after the name of a measure, which shows the factor."""
    scale = factor(measure)
    if scale == 1:
        return ""
    return " (%)" if scale == 100 else f" (1e{-round(math.log10(scale))})"


def heading(measure: Measure) -> str:
    """The name of a measure with its unit."""
    return (measure.title or measure.name) + unit(measure)


def cells(measure: Measure) -> list[tuple[str, ...]]:
    """The table of a measure as text, with a header row."""
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
    """The tests of a measure as text, with a header row."""
    scale = factor(measure)
    return [PAIR_HEAD, *(_pair(test, scale) for test in measure.tests)]


def _pair(test: Test, scale: float) -> tuple[str, ...]:
    effect = f"{test.cohen_d:.2f}" if math.isfinite(test.cohen_d) else "inf"
    difference = f"{scale * test.difference + 0.0:+.4g}"
    p_values = (f"{test.p:.3g}", f"{test.p_holm:.3g}")
    return (f"{test.first} - {test.second}", str(test.pairs), difference, *p_values, effect, f"{test.a12:.2f}")


def digits(value: float) -> str:
    """A number with three decimals, or four digits if that would say nothing."""
    return f"{value:.3f}" if value == 0 or 0.001 <= abs(value) < 10_000 else f"{value:.4g}"


def summary_lines(comparison: Comparison) -> list[str]:
    """A description of the comparison, in a few lines."""
    groups = ", ".join(f"{name} ({len(runs)})" for name, runs in comparison.groups.items())
    lines = [
        f"{counted(len(comparison.runs), 'run')} by {', '.join(comparison.by)}: {groups}",
        f"benchmark {comparison.benchmark}: {_benchmark(comparison)}",
    ]
    average = random_average(comparison)
    if average is not None:
        shares = is_share(comparison.objective.metric, np.concatenate([run.values for run in comparison.runs]))
        value = 100 * average[0] if shares else average[0]
        lines.append(f"average random architecture: {digits(value)} ({average[1]} different ones)")
    return lines


def _benchmark(comparison: Comparison) -> str:
    return f"{_options(comparison)}; {comparison.objective.metric} after {counted(budget(comparison), 'trial')}"


def _options(comparison: Comparison) -> str:
    """The search space, data set and evaluator of a comparison."""
    chosen = [comparison.runs[0].choices.get(group) for group in ("search_space", "dataset", "evaluator")]
    return ", ".join(str(name) for name in chosen if name)


def omnibus(measure: Measure) -> str:
    """The results of Friedman's test and Nemenyi's difference for a measure; empty if they cannot be computed."""
    if measure.friedman is None or measure.critical_difference is None:
        return ""
    return (
        f"Friedman's test that all are equal: p = {measure.friedman:.3g}; two groups differ if their average ranks are "
        f"at least {measure.critical_difference:.2f} apart (Nemenyi, 5 %)."
    )


def repeats_tests(measure: Measure) -> bool:
    """Whether its tests are those of another measure: a regret is a constant less an accuracy."""
    return measure.name.endswith("_regret")


def print_tables(comparison: Comparison, measures: Sequence[Measure]) -> None:
    """Print the tables to stdout; on a terminal as wide as it is, elsewhere as wide as they need."""
    from rich.console import Console
    from rich.table import Table

    class Tables(Console):
        def on_broken_pipe(self) -> None:  # rich's own method ends the process with exit code 1
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
    question: Question = PLAIN,
) -> None:
    """Write `compare.csv`, `pairs.csv`, `runs.csv`, `anytime.csv`, a CSV per set of curves, `compare.md` and
    `compare.tex`.

    `curves`: by name (`trials`, `seconds`), then by group. `pictures`: file names to show in the Markdown. In every CSV
    the keys that distinguish the groups have their own columns.
    """
    keys, on_the_way = keys_of(comparison), anytime.progress(comparison, question.target)
    tables = {"compare": rows(measures), "runs": runs(comparison, measures)}
    tables["anytime"] = anytime.rows(on_the_way, anytime.target_of(comparison, question))
    tables |= {f"curves_{name}": points(name, found) for name, found in curves.items()}
    if sized := sizes(comparison):
        tables["sizes"] = list(size_rows(sized))
    for name, table in tables.items():
        write_text(folder / f"{name}.csv", csv_text(with_keys(table, keys, ("group",))))
    write_text(folder / "pairs.csv", csv_text(with_keys(pairs(measures), keys, ("first", "second"))))
    write_text(folder / "compare.md", _markdown(comparison, measures, pictures, question, on_the_way))
    prefix = tex.prefix(folder.absolute().parent if comparison.name else folder)
    write_text(folder / "compare.tex", latex(comparison, measures, question, prefix))


def keys_of(comparison: Comparison) -> dict[str, dict[str, object]]:
    """By group, the value of each key that distinguishes the groups."""
    return {
        name: {key: found[0].value(key) for key in comparison.by} for name, found in comparison.groups.items() if found
    }


def with_keys(
    table: Iterable[Sequence[object]], keys: Mapping[str, Mapping[str, object]], columns: Sequence[str]
) -> Iterable[Sequence[object]]:
    """A table with additional columns at the end: the keys of the groups that some of its columns name."""
    rows = iter(table)
    head = next(rows)
    places = [(list(head).index(column), column) for column in columns]
    names = list(next(iter(keys.values()), {}))
    prefix = {column: "" if len(columns) == 1 else f"{column}_" for column in columns}
    yield [*head, *(f"{prefix[column]}{name}" for _, column in places for name in names)]
    for row in rows:
        yield [*row, *(keys[str(row[place])][name] for place, _ in places for name in names)]


def rows(measures: Sequence[Measure]) -> Iterable[Sequence[object]]:
    """The tables with all digits, one below the other, with a header row."""
    yield ["measure", *Row._fields]
    for measure in measures:
        for row in measure.rows:
            yield [measure.name, *row]


def pairs(measures: Sequence[Measure]) -> Iterable[Sequence[object]]:
    """The tests with all digits and a header row."""
    yield ["measure", *Test._fields]
    for measure in measures:
        for test in measure.tests:
            yield [measure.name, *test]


def runs(comparison: Comparison, measures: Sequence[Measure]) -> Iterable[tuple[Any, ...]]:
    """Every run with the final value of each measure, with a header row."""
    heads = ("group", "seed", "directory", "trials", "seconds", "parameters", "flops")
    yield (*heads, *(measure.name for measure in measures))
    for group, found in comparison.groups.items():
        for run in found:
            values = [measure.values[group][run.seed] for measure in measures]
            known = (run.directory, len(run.values), run.wall_seconds, run.parameters, run.flops)
            yield (group, run.seed, *known, *values)


def points(name: str, curves: Mapping[str, Curve]) -> Iterable[Sequence[object]]:
    """The incumbents over `name` (trials, seconds or epochs), or the values called `name` over trials, with a header
    row."""
    yield ["group", name if name in ("trials", "seconds", "epochs") else "trials", "mean", "low", "high"]
    for group, curve in curves.items():
        for row in zip(curve.x.tolist(), curve.mean.tolist(), curve.low.tolist(), curve.high.tolist(), strict=True):
            yield [group, *row]


def _markdown(
    comparison: Comparison,
    measures: Sequence[Measure],
    pictures: Sequence[str],
    question: Question,
    on_the_way: Sequence[anytime.Progress],
) -> str:
    lines = [*summary_lines(comparison), *comparison.remarks]
    parts = ["# Comparison\n", "".join(f"- {markdown(line)}\n" for line in lines)]
    for measure in measures:
        parts.append(f"## {heading(measure)}\n")
        parts.append(markdown_table(cells(measure)))
        if measure.tests:
            parts += [markdown_table(pair_cells(measure)), omnibus(measure) + "\n"]
    if sized := sizes(comparison):
        parts += ["## Sizes\n", markdown_table(size_cells(sized)), f"{SIZES}\n"]
    parts += ["## Progress\n", markdown_table(progress_cells(on_the_way, measures[0]))]
    parts += [f"![{name.partition('.')[0].replace('_', ' ')}]({name})\n" for name in pictures]
    parts.append(f"{reading(question)}\n")
    return "\n".join(parts)


def progress_cells(found: Sequence[anytime.Progress], measure: Measure) -> list[tuple[str, ...]]:
    """The progress of groups as text, with a header row. `measure`: the objective's."""
    scale, aimed = factor(measure), any(one.reached for one in found)
    rows: list[tuple[str, ...]] = [("group", "mean of the best so far", *(("reached the target", "trials") * aimed))]
    for one in found:
        way = ("-" if one.median is None else f"{one.median:,.0f}",) if aimed else ()
        count = (f"{one.count} of {len(one.reached)}",) if aimed else ()
        rows.append((one.group, digits(scale * exact_mean(one.area)), *count, *way))
    return rows


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    lines = [" | ".join(markdown(cell) for cell in row) for row in rows]
    lines.insert(1, " | ".join(["---", *["---:"] * (len(rows[0]) - 1)]))
    return "".join(f"| {line} |\n" for line in lines)


def latex(comparison: Comparison, measures: Sequence[Measure], question: Question = PLAIN, prefix: str = "") -> str:
    """For each measure a table over seeds and one of its tests, for LaTeX with the package booktabs.

    `prefix`: prefix of labels. The best mean is bold; groups that do not differ at 5 % from it, or from the reference
    group, have an equals sign, and p-values below 5 % a star.
    """
    parts = [f"% {one_line(line)}\n" for line in summary_lines(comparison)] + [tex.PREAMBLE]
    about = tex.escaped(_options(comparison) if question.cuts else _benchmark(comparison))
    for measure in measures:
        head, *body = cells(measure)
        found = [[tex.escaped(cell) for cell in row] for row in body]
        alike = _not_different(measure, question.reference)
        for row, numbers in zip(found, measure.rows, strict=True):
            row[2] = tex.bold(row[2]) if numbers.mean == measure.rows[0].mean else row[2]
            row[2] += tex.SAME * (numbers.group in alike)
        name = tex.escaped(heading(measure))
        caption = f"{name} over seeds ({about}). Bold: the best mean"
        other = "it" if question.reference is None else tex.escaped(question.reference)
        caption += f"; {tex.SAME}: not different from {other} at 5\\,\\%." if alike else "."
        label = tex.label(prefix, "compare", comparison.name, measure.name)
        parts.append("\n" + tex.table([list(map(tex.escaped, head)), *found], caption, label))
        if measure.tests and not repeats_tests(measure):
            parts.append("\n" + _latex_pairs(comparison.name, measure, question, prefix))
    return "".join(parts)


def _not_different(measure: Measure, reference: str | None) -> set[str]:
    """The groups that the tests do not distinguish from the reference group or, without one, from those with the best
    mean."""
    if not measure.rows:
        return set()
    other = measure.rows[0].group if reference is None else reference
    best = {row.group for row in measure.rows if row.mean == measure.rows[0].mean} if reference is None else set()
    pairs = [(test.first, test.second) for test in measure.tests if test.p_holm >= tex.LEVEL]
    return {group for pair in pairs if other in pair for group in pair if group != other} - best


def _latex_pairs(benchmark: str, measure: Measure, question: Question, prefix: str) -> str:
    head, *body = pair_cells(measure)
    found = []
    for row, test in zip(body, measure.tests, strict=True):
        shown = [tex.escaped(cell) for cell in row]
        shown[4] += tex.SIGNIFICANT * (test.p_holm < tex.LEVEL)
        found.append(shown)
    about = f" on {tex.escaped(benchmark)}" if benchmark else ""
    name = tex.escaped(TESTS[question.test])
    caption = f"{tex.escaped(heading(measure))}{about}: {name}; {tex.SIGNIFICANT}: below 5\\,\\%."
    return tex.table(
        [list(map(tex.escaped, head)), *found], caption, tex.label(prefix, "pairs", benchmark, measure.name)
    )

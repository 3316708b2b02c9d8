"""A comparison over several benchmarks, printed and as files."""

from pathlib import Path

from nasrun.core.options import printable
from nasrun.reports.compare import latex as tex
from nasrun.reports.compare.over import Over, OverMeasure, cells, rows
from nasrun.reports.compare.plots import critical_difference, save
from nasrun.reports.compare.tables import markdown_table, omnibus
from nasrun.reports.tables import csv_text, markdown
from nasrun.storage.records import write_text


def print_over(found: Over) -> None:
    """The tables on stdout."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = 200
    runs = sum(len(one.runs) for one in found.benchmarks.values())
    console.print(printable(f"{runs} runs on {len(found.benchmarks)} benchmarks: {', '.join(found.benchmarks)}"))
    for measure in found.measures:
        head, *body = cells(measure)
        table = Table(title=f"{measure.name}: means over seeds, ranks over benchmarks", title_justify="left")
        for place, name in enumerate(head):
            table.add_column(printable(name), justify="right" if place else "left")
        for row in body:
            table.add_row(*map(printable, row))
        console.print(table)
        if omnibus(measure.ranks):
            console.print(omnibus(measure.ranks))


def write_over(folder: Path, found: Over) -> None:
    """Write `over.csv`, `over.md`, `over.tex` and a critical-difference diagram per measure; OSError passes through."""
    folder.mkdir(parents=True, exist_ok=True)
    figures = {
        f"critical_difference_over_{measure.name}": critical_difference(measure.ranks, f" over {len(measure.columns)}")
        for measure in found.measures
        if measure.ranks.critical_difference is not None
    }
    pictures = save(folder, figures)
    write_text(folder / "over.csv", csv_text(rows(found.measures)))
    parts = ["# Comparison over benchmarks\n", "".join(f"- {markdown(line)}\n" for line in found.remarks)]
    for measure in found.measures:
        parts += [f"## {markdown(measure.name)}\n", markdown_table(cells(measure)), omnibus(measure.ranks) + "\n"]
    parts += [f"![{name.partition('.')[0].replace('_', ' ')}]({name})\n" for name in pictures]
    write_text(folder / "over.md", "\n".join(parts))
    write_text(folder / "over.tex", tex.PREAMBLE + "".join(f"\n{_latex(measure)}" for measure in found.measures))


def _latex(measure: OverMeasure) -> str:
    """The table with the best mean of each benchmark bold."""
    head, *body = cells(measure)
    found = [list(map(tex.escaped, row)) for row in body]
    for place, one in enumerate(measure.columns.values(), start=1):
        best = next((row for row in found if one.rows and row[0] == tex.escaped(one.rows[0].group)), None)
        if best is not None:
            best[place] = tex.bold(best[place])
    caption = (
        f"{tex.escaped(measure.name)}: means over seeds and average ranks over {len(measure.columns)} benchmarks. "
    )
    caption += f"{tex.escaped(omnibus(measure.ranks))} Bold: the best mean of a benchmark."
    return tex.table([list(map(tex.escaped, head)), *found], caption, tex.label("over", measure.name))

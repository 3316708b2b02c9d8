"""A comparison over several benchmarks, printed and as files."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from nasrun.core.options import printable
from nasrun.reports.compare import latex as tex
from nasrun.reports.compare.over import Over, OverMeasure, cells, rows
from nasrun.reports.compare.page import PAGE, cell, picture
from nasrun.reports.compare.plots import critical_difference, save
from nasrun.reports.compare.tables import heading, keys_of, markdown_table, omnibus, with_keys
from nasrun.reports.page import data_address, render
from nasrun.reports.tables import csv_text, markdown
from nasrun.storage.records import write_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OVER_PAGE, TEMPLATE = "over.html", "over.html.jinja"


def folder_of(benchmark: str) -> str:
    """The folder with the files of one benchmark."""
    return re.sub(r"[^\w.-]+", "_", benchmark)


def print_over(found: Over) -> None:
    """The tables on stdout."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = 200
    console.print(printable(_lead(found)))
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


def write_over(folder: Path, found: Over) -> Path:
    """Write `over.html`, `over.csv`, `over.md`, `over.tex` and a critical-difference diagram per measure; returns the
    path of the page. OSError passes through."""
    folder.mkdir(parents=True, exist_ok=True)
    figures = {
        f"critical_difference_over_{measure.name}": critical_difference(
            measure.ranks, f" over {len(measure.columns)} benchmarks"
        )
        for measure in found.measures
        if measure.ranks.critical_difference is not None
    }
    pictures = save(folder, figures)
    keys = {name: found for one in found.benchmarks.values() for name, found in keys_of(one).items()}
    write_text(folder / "over.csv", csv_text(with_keys(rows(found.measures), keys, ("group",))))
    parts = ["# Comparison over benchmarks\n", "".join(f"- {markdown(line)}\n" for line in found.remarks)]
    for measure in found.measures:
        parts += [f"## {markdown(measure.name)}\n", markdown_table(cells(measure)), omnibus(measure.ranks) + "\n"]
    parts += [f"![{name.partition('.')[0].replace('_', ' ')}]({name})\n" for name in pictures]
    write_text(folder / "over.md", "\n".join(parts))
    tables = "".join(f"\n{_latex(measure, tex.prefix(folder))}" for measure in found.measures)
    write_text(folder / "over.tex", tex.PREAMBLE + tables)
    content = {
        "title": "Comparison over benchmarks",
        "lead": f"{_lead(found)}.",
        "benchmarks": [(name, f"{folder_of(name)}/{PAGE}") for name in found.benchmarks],
        "remarks": found.remarks,
        "sections": list(_sections(found, figures)),
    }
    write_text(folder / OVER_PAGE, render(TEMPLATE, content))
    return folder / OVER_PAGE


def _lead(found: Over) -> str:
    runs = sum(len(one.runs) for one in found.benchmarks.values())
    return f"{runs} runs on {len(found.benchmarks)} benchmarks: {', '.join(found.benchmarks)}"


def _sections(found: Over, figures: "Mapping[str, Figure]") -> Iterator[dict[str, object]]:
    """The page's section on each measure."""
    for measure in found.measures:
        head, *body = cells(measure)
        means = [{row.group: row.mean for row in one.rows} for one in measure.columns.values()]
        ranks = {row.group: row.rank for row in measure.ranks.rows}
        table: list[list[object]] = [list(head)]
        for group, *texts in body:
            values = [*(one.get(group) for one in means), ranks.get(group)]
            table.append([group, *(cell(text, value) for text, value in zip(texts, values, strict=True))])
        name = f"critical_difference_over_{measure.name}"
        over: list[list[object]] = [["group", "average_rank", "critical_difference"]]
        over += [[group, rank, measure.ranks.critical_difference] for group, rank in ranks.items()]
        yield {
            "name": f"over_{measure.name}",
            "heading": measure.name,
            "table": table,
            "data": data_address(csv_text(list(rows([measure])))),
            "omnibus": omnibus(measure.ranks),
            "plots": [picture(name, figures[name], over)] if name in figures else [],
        }


def _latex(measure: OverMeasure, prefix: str) -> str:
    """The table with the best mean of each benchmark in bold."""
    head, *body = cells(measure)
    found = [list(map(tex.escaped, row)) for row in body]
    for place, one in enumerate(measure.columns.values(), start=1):
        best = {tex.escaped(row.group) for row in one.rows if row.mean == one.rows[0].mean}
        for row in found:
            row[place] = tex.bold(row[place]) if row[0] in best else row[place]
    headings = {heading(one) for one in measure.columns.values()}
    if len(headings) == 1:  # once, in the caption, so that the columns are narrow
        head = (head[0], *measure.columns, head[-1])
    about = tex.escaped(headings.pop() if len(headings) == 1 else measure.name)
    caption = f"{about}: means over seeds and average ranks over {len(measure.columns)} benchmarks. "
    caption += f"{tex.escaped(omnibus(measure.ranks))} Bold: the best mean of a benchmark."
    return tex.table([list(map(tex.escaped, head)), *found], caption, tex.label(prefix, "over", measure.name))

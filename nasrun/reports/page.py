"""`report.html`: a run as one self-contained page, for a screen, a phone or paper.

Plots are inline SVG whose colours follow the page's light or dark theme; their data can be downloaded from the page.
Everything that comes from a run is escaped by the template: a genome, a reason or a folder name may hold HTML.
"""

import base64
import html
import io
import json
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from nasrun import __version__
from nasrun.core import Objective, SearchSpace, Task
from nasrun.core.words import counted
from nasrun.reports.baseline import baseline_in_words
from nasrun.reports.data import data_section
from nasrun.reports.letters import render_figure
from nasrun.reports.plot_data import plot_data
from nasrun.reports.summary import count, duration, front_in_words, number
from nasrun.reports.tables import TRIALS, csv_text, one_line, trial_rows
from nasrun.reports.tested import facts_of_test, read_tested
from nasrun.reports.unfinished import Unfinished, describe_unfinished
from nasrun.storage.records import RunRecords, write_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAGE = "report.html"
TEMPLATE = "page.html.jinja"
MOST_ROWS = 2000
"""Maximum number of trials in the page's table; the CSV beside it holds all."""
MOST_HELD = 20_000
"""Maximum number of trials for which all data can be downloaded from the page; beyond, they are only in the CSV beside
it."""
MOST_DRAWN = 3000
"""Maximum number of trials for which plots are SVG, with a shape for each trial; beyond, they are pixels."""

NARROW = 5.8
"""Maximum width in inches of a plot with one pair of axes; graphs, which have none, keep their size."""
LEGEND_LETTERS = 85
"""Number of letters, including symbols, in a line of a legend above the axes at that width."""

COLOURS = {"#2b2f36": "ink", "#ffffff": "paper", "#e4e6ea": "grid", "#9aa0a8": "muted", "#0072b2": "blue"}
COLOURS |= {"#d55e00": "orange", "#009e73": "green", "#cc79a7": "pink", "#e69f00": "amber", "#56b4e9": "sky"}
COLOURS |= {"#000000": "black"}
"""The colours of the plots, by the page's names for them."""

CAPTIONS = {
    "incumbent": "Every trial, and the best so far",
    "accuracy_parameters": "Objective against parameters, with the Pareto front",
    "front": "The first objective against each other one; rings: no trial beats these in all of them",
    "learning_curves": "Learning curves of the best trials",
    "origins": "What each operator gained over the parent",
    "test_confusion": "The winner's answers for the test images of each class",
    "test_mistakes": "The most confidently wrong answers: answer, confidence, and what it is",
    "learning_history": "Losses of the search's final network, with the borders of the cycles",
}


class Plot(NamedTuple):
    """A plot of the page: SVG or an `img`, and its data as a `data:` address of a CSV; empty: not in the page."""

    name: str
    caption: str
    picture: str
    data: str


def write_page(
    run: RunRecords,
    summary: Mapping[str, Any],
    space: SearchSpace,
    objective: Objective,
    figures: "Mapping[str, Figure]",
    task: Task | None = None,
    tests: "Mapping[str, Figure] | None" = None,
    unfinished: Unfinished | None = None,
) -> Path:
    """Write `report.html` into a run's directory and return its path; OSError passes through.

    `summary`: the contents of `summary.json`. `figures`: by name; their background is cleared. `task`: if given, the
    layers of the best network are listed, which imports torch. `tests`: the plots of the winner's test. `unfinished`:
    the state of an unfinished run.
    """
    records = [run.trials[trial] for trial in sorted(run.trials)]
    best, choices, held = summary["best"], run.header.choices, len(records) <= MOST_HELD
    rows = [list(row) for row in trial_rows(records if held else records[:MOST_ROWS], space, objective)]
    names = [str(choices[group]) for group in ("strategy", "search_space", "dataset") if choices.get(group)]
    content = {
        "title": " · ".join(names) or run.directory.name,
        "lead": f"{run.directory.name}, seed {run.header.seed}, nasrun {run.header.nasrun}",
        "unfinished": None if unfinished is None else describe_unfinished(run, unfinished),
        "facts": list(_facts(summary)),
        "genome": best["genome"] if best else None,
        "layers": _layers(space, best["genome"], task) if best and task else None,
        "data": data_section(run.directory, summary),
        "test": _test_section(run.directory, summary, tests or {}),
        "plots": [_plot(name, figure, run, objective) for name, figure in figures.items()],
        "trials": [rows[0], *([_readable(cell) for cell in row] for row in rows[1 : MOST_ROWS + 1])],
        "best": best["trial"] if best else None,
        "told": counted(len(records), "trial")
        + (f", the first {MOST_ROWS:,} shown." if len(records) > MOST_ROWS else "."),
        "trials_data": data_address(csv_text(rows)) if held else TRIALS,
        "failures": _failures(run),
        "records": list(_records(run)),
    }
    path = run.directory / PAGE
    write_text(path, render(TEMPLATE, content))
    return path


def render(template: str, content: Mapping[str, Any]) -> str:
    """Render a template of this package; content is escaped, unless the template marks it as safe."""
    from jinja2 import Environment, PackageLoader

    environment = Environment(loader=PackageLoader("nasrun.reports", "."), autoescape=True, trim_blocks=True)
    return environment.get_template(template).render(version=__version__, **content)


def _facts(summary: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The key numbers at the top."""
    best, metric = summary["best"], summary["objective"]["metric"]
    if best is not None:
        value = number(best["metrics"].get(metric, best.get(metric)))
        spread = f" ± {number(best['deviation'])}" if best["deviation"] is not None else ""
        yield f"{metric} of the best (trial {best['trial']})", value + spread
        for name, result in sorted(summary["final"].items()):
            if isinstance(result, int | float):
                yield name, number(result)
        yield from facts_of_test(summary)
        if "baseline" in summary:
            yield "known network at the same cost", baseline_in_words(summary["baseline"])
        if "choice" in summary:
            choice = summary["choice"]
            yield f"probability to be the best of {len(choice['of'])}", f"{choice['probability']:.2f}"
        if "front" in summary:
            yield "front", front_in_words(summary)
        if best["parameters"] is not None:
            yield "parameters", count(best["parameters"])
        if best["flops"] is not None:
            yield "FLOPs", count(best["flops"])
    yield "trials", f"{summary['trials']:,}"
    yield "distinct architectures", f"{summary['distinct_architectures']:,}"
    if summary["status"]["failed"] or summary["status"]["infeasible"]:
        yield "failed, infeasible", f"{summary['status']['failed']:,}, {summary['status']['infeasible']:,}"
    yield "time", duration(summary["wall_seconds"])
    if summary["improvement_over_sample_mean"] is not None:
        yield "better than the average random one by", number(summary["improvement_over_sample_mean"])


def _test_section(
    directory: Path, summary: Mapping[str, Any], figures: "Mapping[str, Figure]"
) -> dict[str, Any] | None:
    """The page's section on the winner's test; None if its evaluator left no answers."""
    tested = read_tested(directory) if "test" in summary else None
    if tested is None:
        return None
    rows = {"test_confusion": tested.confusion_rows, "test_mistakes": tested.wrong_rows}
    table = [[_readable(cell) for cell in row] for row in tested.class_rows()]
    return {
        "lead": f"{tested.right:,} of {tested.images:,} test images were recognised. Intervals are Wilson's, 95 %.",
        "table": table,
        "plots": [
            Plot(name, CAPTIONS[name], as_svg(figure, name, CAPTIONS[name]), data_address(csv_text(list(rows[name]()))))
            for name, figure in figures.items()
        ],
        "data": data_address(csv_text(list(tested.class_rows()))),
    }


def _plot(name: str, figure: "Figure", run: RunRecords, objective: Objective) -> Plot:
    few = len(run.trials) <= MOST_HELD
    data = data_address(csv_text(plot_data(name, run.trials, objective))) if few else ""
    caption = CAPTIONS.get(name, name.replace("_", " ").capitalize())
    picture = as_svg(figure, name, caption) if len(run.trials) <= MOST_DRAWN else _pixels(figure)
    return Plot(name, caption, picture, data)


def as_svg(figure: "Figure", name: str, caption: str) -> str:
    """A figure as an `svg` element in the colours of the page; the figure's background is cleared."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    _narrow(figure)
    figure.set_facecolor("none")
    for axes in figure.axes:
        axes.set_facecolor("none")
    texts = []

    def draw() -> None:
        texts.append(io.StringIO())
        FigureCanvasSVG(figure).print_svg(texts[-1], metadata={"Date": None})  # type: ignore[no-untyped-call]

    # Text stays text; the salt keeps the identifiers of several pictures on one page apart.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        render_figure(figure, draw)
    drawn = texts[-1].getvalue()
    drawn = drawn[drawn.index("<svg") :]
    for colour, variable in COLOURS.items():
        drawn = drawn.replace(colour, f"var(--{variable})")
    return drawn.replace("<svg ", f'<svg role="img" aria-label="{html.escape(caption)}" ', 1)


def _narrow(figure: "Figure") -> None:
    """Make a wide plot narrower, so that its letters are larger on half a screen, or on a phone."""
    width, height = figure.get_size_inches()
    drawn = [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]
    if len(drawn) > 1 or not drawn[0].axison or width <= NARROW:
        return
    letters = sum(len(text.get_text()) + 7 for legend in figure.legends for text in legend.get_texts())
    needed = min(width, max(NARROW, NARROW * letters / LEGEND_LETTERS))
    figure.set_size_inches(needed, height * max(0.8, needed / width))


def _pixels(figure: "Figure") -> str:
    """A figure as an `img` element with its bytes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    data: list[io.BytesIO] = []

    def draw() -> None:
        data.append(io.BytesIO())
        FigureCanvasAgg(figure).print_png(data[-1])  # type: ignore[no-untyped-call]

    render_figure(figure, draw)
    return f'<img alt="" src="data:image/png;base64,{base64.b64encode(data[-1].getvalue()).decode()}">'


def data_address(text: str) -> str:
    """A CSV as a download address, without a file."""
    return "data:text/csv;charset=utf-8," + urllib.parse.quote(text, safe="/,")


def _readable(cell: object) -> object:
    """A cell of the trials' table: numbers with few digits, so that they fit and sort."""
    if cell is None or isinstance(cell, int):
        return "" if cell is None else cell
    try:
        value = float(str(cell))
    except ValueError:
        return cell
    return int(value) if value.is_integer() and "." not in str(cell) else float(f"{value:.5g}")


def _failures(run: RunRecords) -> list[list[object]] | None:
    """Each reason for a failure, with its number of trials; None if none failed."""
    counts: dict[tuple[str, str], int] = {}
    for record in run.trials.values():
        if record.status != "ok":
            key = (record.status, one_line(record.error))
            counts[key] = counts.get(key, 0) + 1
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    rows: list[list[object]] = [[status, reason, times] for (status, reason), times in ranked]
    return [["status", "reason", "trials"], *rows] if rows else None


def _records(run: RunRecords) -> Iterator[tuple[str, str]]:
    """The records of the run: config, command line, environment, facts."""
    for title, path in (("Configuration", ".hydra/config.yaml"), ("Command line", ".hydra/overrides.yaml")):
        if (run.directory / path).is_file():
            yield title, (run.directory / path).read_text(encoding="utf-8")
    yield "Machine and versions", json.dumps(run.header.environment, indent=2)
    if run.header.data is not None:
        yield "Data", json.dumps(run.header.data, indent=2)
    yield "Decided at the start", json.dumps(run.header.facts, indent=2)


def _layers(space: SearchSpace, genome: str, task: Task) -> Sequence[Sequence[object]]:
    """The layers of a network in the order of computation, with shapes and parameters."""
    import torch

    rows: list[Sequence[object]] = [["layer", "kind", "output", "parameters"]]
    network = space.outline(space.parse(genome), task).eval()

    def note(name: str) -> Any:
        def hook(module: torch.nn.Module, inputs: object, output: object) -> None:
            shape = " x ".join(map(str, output.shape[1:])) if isinstance(output, torch.Tensor) else ""
            size = sum(parameter.numel() for parameter in module.parameters())
            rows.append([name, type(module).__name__, shape, size])

        return hook

    for name, module in network.named_modules():
        if not list(module.children()):
            module.register_forward_hook(note(name))
    network(torch.empty(1, task.channels, task.height, task.width, device="meta"))
    return rows

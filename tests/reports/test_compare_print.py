"""A comparison in print: names, colours and order, LaTeX, pictures that fit, all files of a paper."""

import csv
import itertools
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from nasrun.core.options import ConfigError
from nasrun.reports.compare import latex as tex
from nasrun.reports.compare import tables
from nasrun.reports.compare.look import Look, read_look
from nasrun.reports.compare.numbers import measures, tabulate
from nasrun.reports.compare.over import compare_over
from nasrun.reports.compare.over_tables import write_over
from nasrun.reports.compare.plots import critical_difference
from nasrun.reports.compare.question import PLAIN, Cut, Question
from nasrun.reports.compare.read import ComparedRun
from nasrun.reports.compare.runs import compare_runs, selected
from nasrun.reports.plot_style import add_legend, new_figure
from tests.reports.table_sweeps import DATASETS


def test_a_look_renames_and_orders(one_table: list[Path], tmp_path: Path) -> None:
    (tmp_path / "look.yaml").write_text(
        "labels: {random: Random search}\ncolours: {random: '#ff0000'}\norder: [local_search, random]\nwidth: 5\n"
    )
    look = read_look(tmp_path / "look.yaml")
    comparison = look.applied(compare_runs(one_table))
    assert list(comparison.groups) == ["local_search", "Random search"]
    assert look.colour("Random search") == "#ff0000"
    for bad, said in (
        ("labels: {rndom: x}", "labels: rndom: no such group; did you mean 'random'?"),
        ("labels: {random: local_search}", "two groups have the same name"),
    ):
        (tmp_path / "look.yaml").write_text(bad)
        with pytest.raises(ConfigError, match=re.escape(said)):
            read_look(tmp_path / "look.yaml").applied(compare_runs(one_table))
    (tmp_path / "look.yaml").write_text("colours: {random: nocolour}")
    with pytest.raises(ConfigError, match="not a colour"):
        read_look(tmp_path / "look.yaml")
    assert Look().applied(comparison) == comparison
    assert look.asked(Question(reference="random")).reference == "Random search"


def test_a_look_is_that_of_all_benchmarks(three_tables: Path, tmp_path: Path) -> None:
    look = Look(labels={"random": "Random search"}, order=["random"])
    found = compare_over(*selected([three_tables]), ["dataset"], [], look.asked(Question(reference="random")), look)
    assert all(list(one.groups) == ["Random search", "local_search"] for one in found.benchmarks.values())
    assert {row.group for row in found.measures[0].ranks.rows} == {"Random search", "local_search"}
    with pytest.raises(ConfigError, match="order: rnd: no such group"):
        compare_over(*selected([three_tables]), ["dataset"], [], PLAIN, Look(order=["rnd"]))


def test_tables_of_two_comparisons_stand_in_one_document(
    one_table: list[Path], three_tables: Path, tmp_path: Path
) -> None:
    comparison = compare_runs(one_table)
    found = measures(comparison)
    several = compare_over(*selected([three_tables]), ["dataset"], [], PLAIN)
    texts = []
    for folder in ("main", "further", "compare"):
        (tmp_path / folder).mkdir()
        tables.write_tables(tmp_path / folder, comparison, found, {}, [])
        write_over(tmp_path / folder, several)
        texts += [(tmp_path / folder / name).read_text() for name in ("compare.tex", "over.tex")]
    labels = re.findall(r"\\label\{([^}]+)\}", "".join(texts))
    assert len(labels) == len(set(labels))
    assert {"tab:compare-val-accuracy", "tab:main-compare-val-accuracy", "tab:further-over-val-accuracy"} <= set(labels)


def test_captions_say_after_what(one_table: list[Path]) -> None:
    comparison, question = compare_runs(one_table), Question(cuts=(Cut("trials", 5),))
    captions = re.findall(r"\\caption\{(.*)\}\n", tables.latex(comparison, measures(comparison, question), question))
    assert captions[0].startswith(r"val\_accuracy after 5 trials (\%) over seeds (nasbench201, cifar10, table).")
    assert all("20 trials" not in caption for caption in captions)
    assert any(caption.startswith(r"test\_accuracy at the end of the runs (\%) over seeds") for caption in captions)


def test_all_of_the_best_are_bold(one_table: list[Path]) -> None:
    comparison = compare_runs(one_table)
    values = {"a": {0: 0.5, 1: 0.6}, "b": {0: 0.5, 1: 0.6}, "c": {0: 0.5, 1: 0.5}}
    shown = tabulate("val_accuracy", "max", values, [0, 1], PLAIN)
    text = tables.latex(comparison, [shown])
    assert text.count(r"\textbf{") == 2


def test_marks_of_a_reference_are_of_its_tests(one_table: list[Path]) -> None:
    """Groups that were not tested against the best one are not left without a mark as if they differed from it."""
    values = {"a": {0: 0.5, 1: 0.6}, "b": {0: 0.4, 1: 0.5}, "c": {0: 0.3, 1: 0.5}}
    question = Question(reference="c")
    text = tables.latex(compare_runs(one_table), [tabulate("val_accuracy", "max", values, [0, 1], question)], question)
    assert "not different from c at" in text
    rows = {line[0]: line for line in text.splitlines() if re.match("[abc] & ", line)}
    assert [tex.SAME in rows[group] for group in "abc"] == [True, True, False]


def test_accuracies_in_percent_are_not_multiplied(one_table: list[Path]) -> None:
    """An evaluator of one's own may report percent; a small regret is then in points, too."""
    comparison = compare_runs(one_table)
    whole = replace(
        comparison, groups={name: [percent(run) for run in runs] for name, runs in comparison.groups.items()}
    )
    shares, points = measures(comparison), measures(whole)
    assert [tables.factor(measure) for measure in shares] == [100.0] * len(shares)
    assert {measure.name for measure in points} >= {"val_accuracy", "val_regret"}
    assert [tables.factor(measure) for measure in points] == [1.0] * len(points)
    assert tables.summary_lines(whole)[-1] == tables.summary_lines(comparison)[-1]


def percent(run: ComparedRun) -> ComparedRun:
    samples = {genome: 100 * value for genome, value in run.samples.items()}
    final = {name: 100 * value if name.endswith(("accuracy", "regret")) else value for name, value in run.final.items()}
    return replace(run, values=100 * run.values, samples=samples, final=final)


def test_names_of_any_length_fit_into_a_diagram_of_ranks() -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    for count, name in ((2, "a"), (3, "local_search"), (16, "population=16, sample=2, deduplicate=never, cycles={}")):
        values = {name.format(place) + str(place): {0: 0.1 * place, 1: 0.1 * place} for place in range(count)}
        figure = critical_difference(tabulate("val_accuracy", "max", values, [0, 1], PLAIN))
        renderer = FigureCanvasAgg(figure).get_renderer()
        figure.draw(renderer)
        boxes = [text.get_window_extent(renderer) for text in figure.axes[0].texts]
        width, height = figure.bbox.width, figure.bbox.height
        assert all(box.x0 >= -1 and box.x1 <= width + 1 and box.y0 >= -1 and box.y1 <= height + 1 for box in boxes)
        ticks = sorted(
            (box.x0, box.x1) for box, text in zip(boxes, figure.axes[0].texts, strict=True) if text.get_text().isdigit()
        )
        assert len(ticks) > 1
        assert all(end <= begin for (_, end), (begin, _) in itertools.pairwise(ticks)), "numbers of the axis overlap"


def test_a_legend_has_the_lines_it_takes() -> None:
    """No label leaves the picture, however many there are and however long."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    for count, length in ((2, 10), (7, 12), (16, 6), (16, 24), (16, 60), (1, 100), (5, 0)):
        figure, axes = new_figure("Trials", "Best so far")
        before = axes.get_window_extent().height
        for number in range(count):
            axes.plot([0, 1], [number, number], label=f"{number:02d}" + "m" * length)
        add_legend(figure, axes)
        FigureCanvasAgg(figure).draw()
        [legend] = figure.legends
        box = legend.get_window_extent()
        assert box.x0 >= 0, (count, length)
        assert box.x1 <= figure.bbox.width, (count, length)
        assert axes.get_window_extent().height > 0.75 * before, (count, length)


def test_all_files_of_a_paper(three_tables: Path, tmp_path: Path, nasrun_inprocess: Callable) -> None:
    """Tables over three data sets, of one, and the methods: LaTeX that `pdflatex` takes, if it is there."""
    words = f"compare {three_tables} over=dataset by=strategy,trials at=5,20 reference=random --methods --out paper"
    answer = nasrun_inprocess(words.replace("reference=random ", ""))
    assert answer.returncode == 0, answer.stderr
    out = tmp_path / "paper"
    with (out / "cifar10" / "compare.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {(row["strategy"], row["trials"]) for row in rows} == {("random", "20"), ("local_search", "20")}
    with (out / "cifar10" / "pairs.csv").open() as file:
        assert {"first_strategy", "second_strategy"} <= set(next(csv.DictReader(file)))
    page = (out / "over.html").read_text()
    assert all(f'href="{name}/compare.html"' in page for name in DATASETS)
    assert 'download="over_test_regret.csv"' in page
    assert "on each of 3 benchmarks" in (out / "methods.tex").read_text()
    methods = (out / "cifar10" / "methods.tex").read_text()
    assert "(repeat=mean, repeats=1)" in methods
    assert "seeds 0 to 3)" in methods
    cited = {key for group in re.findall(r"\\cite\{([^}]+)\}", methods) for key in group.split(",")}
    assert {"dong2020nasbench201", "white2021local", "krizhevsky2009cifar"} <= cited
    entries = set(re.findall(r"^@\w+\{([^,]+),", (out / "cifar10" / "methods.bib").read_text(), flags=re.MULTILINE))
    assert entries == cited
    if shutil.which("pdflatex") is None:
        pytest.skip("pdflatex is not installed (Debian: texlive-latex-base, texlive-latex-recommended)")
    inputs = ["cifar10/methods.tex", "over.tex", "cifar10/compare.tex", "cifar100/compare.tex"]
    pictures = ["critical_difference_over_test_accuracy.pdf", "cifar10/regret_trials.pdf"]
    body = [f"\\input{{{name}}}\\clearpage" for name in inputs]
    body += [f"\\includegraphics[width=\\textwidth]{{{name}}}" for name in pictures]
    preamble = "\\documentclass{article}\\usepackage{booktabs}\\usepackage{graphicx}"
    text = "\n".join(
        [preamble, "\\begin{document}", *body, "\\bibliographystyle{plain}\\bibliography{cifar10/methods}"]
    )
    (out / "paper.tex").write_text(text + "\\end{document}")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    made = subprocess.run(
        command, cwd=out, capture_output=True, text=True, env={**os.environ, "TEXMFVAR": str(tmp_path)}
    )
    assert made.returncode == 0, made.stdout[-2000:]
    assert (out / "paper.pdf").read_bytes().startswith(b"%PDF")

"""`compare.html`: it holds the comparison, needs nothing else, and what comes from the runs stays text."""

import csv
import io
import re
import urllib.parse
from pathlib import Path

import pytest

from nasrun.config.compose import compose_config, task_config
from nasrun.core.averages import exact_mean
from nasrun.reports.compare import page as compare_page
from nasrun.reports.compare.anytime import progress
from nasrun.reports.compare.checklist import checklist
from nasrun.reports.compare.curves import time_curves, trial_curves
from nasrun.reports.compare.numbers import measures
from nasrun.reports.compare.plots import draw
from nasrun.reports.compare.runs import Comparison, compare_runs
from nasrun.reports.compare.tables import cells, pair_cells
from nasrun.runner.run import start
from tests.reports.landscape import LANDSCAPE

QUIET = (*LANDSCAPE, "trials=8")
HOSTILE = "<script>alert(1)</script><img src=x>"
NAMES = {"random": "random", "local_search": HOSTILE}


def make_runs(folder: Path, seeds: int = 3) -> Path:
    """Runs of two strategies, the name of one of which is markup, in folders that have such a name too."""
    for strategy, name in NAMES.items():
        for seed in range(seeds):
            config = task_config(compose_config([f"strategy={strategy}", f"seed={seed}", *QUIET]))
            directory = folder / f"{'<b>&' if name == HOSTILE else ''}{strategy}_{seed}"
            start(config, directory, unique=False, choices={"strategy": name, "search_space": "sequential_cnn"})
    return folder


def write(comparison: Comparison, folder: Path, *, with_checklist: bool = True) -> Path:
    """The page of a comparison, made as the command makes it."""
    found, curves = measures(comparison), {"trials": trial_curves(comparison), "seconds": time_curves(comparison)}
    figures = draw(found, curves["trials"], curves["seconds"], simulated=False)
    folder.mkdir(exist_ok=True)
    answers = checklist(comparison) if with_checklist else None
    return compare_page.write_page(folder, comparison, found, curves, figures, answers)


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    return compare_runs([make_runs(tmp_path_factory.mktemp("runs"))])


@pytest.fixture(scope="module")
def text(comparison: Comparison, tmp_path_factory: pytest.TempPathFactory) -> str:
    return write(comparison, tmp_path_factory.mktemp("page")).read_text(encoding="utf-8")


def downloads(text: str) -> dict[str, list[list[str]]]:
    """The files that the page offers, by name."""
    found = re.findall(r'download="([^"]+)" href="data:text/csv;charset=utf-8,([^"]*)"', text)
    return {name: list(csv.reader(io.StringIO(urllib.parse.unquote(data)))) for name, data in found}


def test_tables_tests_pictures_and_warnings_are_on_it(comparison: Comparison, text: str) -> None:
    [measure] = measures(comparison)
    shown = re.sub(r"<svg.*?</svg>", "", text, flags=re.DOTALL)
    for row in (*cells(measure)[1:], *pair_cells(measure)[1:]):
        for cell in row[1:]:
            assert f">{cell}</td>" in shown
    assert text.count("<svg ") == 4
    assert "fewer than 5 seeds" in text
    assert "Friedman" in text
    assert text.count(">unknown</td>") == sum(answer.reply == "unknown" for answer in checklist(comparison))


def test_the_numbers_behind_everything_can_be_had(comparison: Comparison, text: str) -> None:
    [measure] = measures(comparison)
    files = downloads(text)
    name = measure.name
    names = {"incumbent_trials", "incumbent_seconds", f"final_{name}", f"critical_difference_{name}", name}
    assert set(files) == {f"{stem}.csv" for stem in (*names, f"pairs_{name}", "runs", "anytime")}
    areas = {row[0]: float(row[2]) for row in files["anytime.csv"][1:]}
    assert areas == {one.group: exact_mean(one.area) for one in progress(comparison, None)}
    assert float(files["pairs_val_accuracy.csv"][1][5]) == measure.tests[0].p
    curve = trial_curves(comparison)["random"]
    rows = [row for row in files["incumbent_trials.csv"] if row[0] == "random"]
    assert [float(row[2]) for row in rows] == curve.mean.tolist()
    final = {(row[0], int(row[1])): float(row[2]) for row in files[f"final_{name}.csv"][1:]}
    assert final == {(group, seed): v for group, found in measure.values.items() for seed, v in found.items()}


def test_the_page_needs_nothing_else(text: str) -> None:
    loaded = re.findall(r'(?:src|href)="([^"]+)"', text)
    assert loaded
    assert all(address.startswith(("data:", "#")) for address in loaded)
    assert "@import" not in text


def test_markup_in_names_and_folders_stays_text(text: str) -> None:
    assert "<script>alert" not in text
    assert "<img src=x" not in text
    assert "<b>&" not in text
    assert "&lt;b&gt;&amp;local_search_0" in text
    assert text.count("&lt;script&gt;alert(1)") > 5


def test_without_the_checklist_it_is_not_there(comparison: Comparison, tmp_path: Path) -> None:
    first = write(comparison, tmp_path / "one", with_checklist=False).read_text(encoding="utf-8")
    assert 'id="checklist"' not in first
    assert first == write(comparison, tmp_path / "two", with_checklist=False).read_text(encoding="utf-8")


def test_one_run_alone_has_a_page(comparison: Comparison, tmp_path: Path) -> None:
    alone = compare_runs([comparison.runs[0].directory])
    text = write(alone, tmp_path).read_text(encoding="utf-8")
    assert 'id="table_val_accuracy"' in text
    assert "Pairs of groups" not in text
    assert text.count("<svg ") == 3

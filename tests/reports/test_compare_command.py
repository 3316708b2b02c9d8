"""`nasrun compare` as it is typed: what it writes and says, and the one line that a mistake is answered with."""

import csv
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from nasrun.config.compose import compose_config, task_config
from nasrun.reports.compare.numbers import measures
from nasrun.reports.compare.runs import compare_runs
from nasrun.reports.compare.tables import cells, digits
from nasrun.runner.run import start
from tests.reports.landscape import LANDSCAPE
from tests.support import made_run

QUIET = (*LANDSCAPE, "trials=10")

FILES = ["anytime.csv", "checklist.md", "compare.csv", "compare.html", "compare.md", "compare.tex"]
FILES += ["curves_seconds.csv", "curves_trials.csv", "pairs.csv", "runs.csv"]
PICTURES = ["critical_difference_val_accuracy", "final_val_accuracy", "incumbent_seconds", "incumbent_trials"]

MISTAKES = [
    ("compare", "compare: expected run directories; usage: nasrun compare DIR..."),
    ("compare gone", "gone: no such directory; usage: nasrun compare DIR..."),
    ("compare sweep gone", "gone: no such directory"),
    ("compare empty", "empty: holds no run, nor does a folder in it (no journal.jsonl)"),
    ("compare sweep where=strategy", "where=strategy: expected where=KEY=VALUE, e.g. where=strategy=random,grid"),
    ("compare sweep where=strategy=grid", "where=strategy=grid: no run has that; there is local_search, random"),
    ("compare sweep where=strtegy=grid", "where=strtegy: no run has such a key; did you mean strategy?"),
    ("compare sweep without=sweep", "without=sweep: leaves no run"),
    ("compare sweep without=gone", "without=gone: no such directory"),
    ("compare sweep over=trials", "over=trials: all runs have 10; leave it out"),
    ("compare sweep at=11", "at=11: the longest run has 10 trials; use fewer"),
    ("compare sweep at=2.5", "at=2.5: expected a whole number above 0"),
    ("compare sweep at=x", "at=x: expected a number"),
    ("compare sweep at=inf", "at=inf: expected a number"),
    ("compare sweep target=nan", "target=nan: expected a number"),
    ("compare sweep target=95", "target=95: val_accuracy is a share between 0 and 1; e.g. target=0.95"),
    ("compare sweep over=seed", "over=seed: does not distinguish benchmarks; leave it out"),
    ("compare sweep over=strategy", "over=strategy: distinguishes groups, not benchmarks"),
    ("compare sweep seconds=5x", "seconds=5x: expected a number with its unit"),
    ("compare sweep reference=grid", "reference=grid: no such group; expected one of random, local_search"),
    ("compare sweep test=t", "test=t: unknown; known: permutation, wilcoxon, mannwhitney"),
    ("compare sweep target=1,2", "target=1,2: expected one value"),
    ("compare sweep --style gone.yaml", "--style gone.yaml: cannot be read (No such file or directory)"),
    ("compare sweep --style file", "--style file: expected keys, such as labels, colours"),
    ("compare sweep trials=3", "trials=3: not expected; usage: nasrun compare DIR..."),
    ("compare sweep by=", "by=: expected one or more keys"),
    ("compare sweep by=strtegy", "by=strtegy: no run has such a key; did you mean strategy?"),
    ("compare sweep by=dataset", "by=dataset: runs that differ in it cannot be compared"),
    ("compare sweep --chcklist", "unrecognized arguments: --chcklist; usage: nasrun compare DIR..."),
    ("compare sweep --out", "argument --out: expected one argument"),
    ("compare sweep --out file", "file: cannot be written to (File exists); choose another: --out FOLDER"),
    ("compare sweep sweep/0/copy", "both are random with seed=0; leave one of them out: without=sweep/0/copy"),
    ("comprae sweep", "comprae: neither a verb nor key=value; did you mean compare DIR?"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the runs of a small sweep and some traps."""
    folder = tmp_path_factory.mktemp("command")
    number = 0
    for strategy in ("random", "local_search"):
        for seed in (0, 1, 2):
            config = task_config(compose_config([f"strategy={strategy}", f"seed={seed}", *QUIET]))
            start(config, folder / "sweep" / str(number), unique=False, choices={"strategy": strategy})
            number += 1
    (folder / "empty").mkdir()
    (folder / "file").write_text("")
    return folder


def test_tables_pictures_and_checklist(folder: Path, nasrun: Callable, tmp_path: Path) -> None:
    shutil.copytree(folder / "sweep", tmp_path / "sweep")
    answer = nasrun("compare sweep --checklist")
    assert answer.returncode == 0, answer.stderr
    out = tmp_path / "sweep" / "compare"
    expected = [*FILES, *(f"{name}.{kind}" for name in PICTURES for kind in ("pdf", "png", "svg"))]
    assert sorted(path.name for path in out.iterdir()) == sorted(expected)
    comparison = compare_runs([tmp_path / "sweep"])
    [measure] = measures(comparison)
    for row in cells(measure)[1:]:
        assert row[2] in answer.stdout
        assert f"| {' | '.join(row)} |" in (out / "compare.md").read_text()
    with (out / "compare.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["group"], float(row["mean"])) for row in rows] == [(row.group, row.mean) for row in measure.rows]
    tex = (out / "compare.tex").read_text()
    assert r"local\_search" in tex
    assert "\\textbf{" + digits(100 * measure.rows[0].mean) in tex
    assert tex.count(r"\begin{tabular}") == tex.count(r"\end{tabular}") == 2  # the table, and its tests
    assert "fewer than 5 seeds" in answer.stderr
    assert re.search(r"checklist: \d+ yes, \d+ no, \d+ unknown; see ", answer.stdout)
    for name in PICTURES:
        assert (out / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert (out / f"{name}.svg").read_text().rstrip().endswith("</svg>")
        if name != "incumbent_seconds":
            assert f"![{name.replace('_', ' ')}]({name}.png)" in (out / "compare.md").read_text()


def test_the_same_runs_give_the_same_bytes(folder: Path, nasrun_inprocess: Callable, tmp_path: Path) -> None:
    for name in ("one", "two"):
        assert nasrun_inprocess(f"compare {folder / 'sweep'} --out {name}/tables").returncode == 0
    assert sorted(path.name for path in (tmp_path / "one" / "tables").iterdir()) == sorted(
        path.name for path in (tmp_path / "two" / "tables").iterdir()
    )
    for path in (tmp_path / "one" / "tables").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / "tables" / path.name).read_bytes(), path.name


def test_values_and_folders_with_commas(nasrun_inprocess: Callable, tmp_path: Path) -> None:
    for filters in ("[4,8]", "[4,8,16]"):
        for seed in (0, 1):
            words = ["search_space=sequential_cnn", f"search_space.filters={filters}", f"seed={seed}", *QUIET]
            made_run(tmp_path / f"seed={seed},{len(filters)}", *words)
    advice = "where=search_space.filters=[4,8]"
    assert f"or one of them: {advice}" in nasrun_inprocess("compare .").stderr
    assert nasrun_inprocess(f"compare . '{advice}' --out one").returncode == 0
    assert len((tmp_path / "one" / "runs.csv").read_text().splitlines()) == 1 + 2
    shutil.copytree(tmp_path / "seed=1,5", tmp_path / "seed=1,a copy")
    said = nasrun_inprocess(f"compare . '{advice}'").stderr
    leave = said.rpartition("leave one of them out: ")[2].strip()
    assert nasrun_inprocess(f"compare . '{advice}' {leave} --out two").returncode == 0


def test_group_names_from_a_config_cannot_break_the_tables(nasrun_inprocess: Callable, tmp_path: Path) -> None:
    for seed in (0, 1):
        for name in ("a|b", "x_y & 50%"):
            config = task_config(compose_config([f"seed={seed}", "strategy=random", *QUIET]))
            start(config, tmp_path / f"{seed}{name[0]}", unique=False, choices={"strategy": name})
    assert nasrun_inprocess("compare . --out out").returncode == 0
    lines = (tmp_path / "out" / "compare.md").read_text().splitlines()
    tables = [line for line in lines if line.startswith("| ") and "a\\|b" in line]
    assert tables
    assert r"x\_y \& 50\%" in (tmp_path / "out" / "compare.tex").read_text()


@pytest.mark.parametrize("row", MISTAKES, ids=lambda row: row[0])
def test_mistake_gets_one_line(row: tuple[str, ...], folder: Path, nasrun_inprocess: Callable, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    if "copy" in row[0]:
        shutil.copytree(tmp_path / "sweep" / "0", tmp_path / "sweep" / "0" / "copy")
    before = sorted(tmp_path.rglob("*"))
    answer: subprocess.CompletedProcess[str] = nasrun_inprocess(row[0])
    assert answer.returncode == 2
    assert answer.stdout == ""
    assert re.fullmatch(r"nasrun: [^\n]+\n", answer.stderr), answer.stderr
    assert row[1] in answer.stderr
    assert sorted(tmp_path.rglob("*")) == before

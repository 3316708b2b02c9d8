"""The made-up paper and the table of small networks, in their small forms."""

import csv
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.runner.test_crash import SCRIPTS
from tests.scripts.test_shared_scripts import call

TOOLS = ("pdflatex", "bibtex", "pdftoppm")
ANOTHER = 65534  # nobody
AS_ANOTHER = (
    *("setpriv", f"--reuid={ANOTHER}", f"--regid={ANOTHER}", "--clear-groups"),
    *("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"),
)
"""Runs a command as another user, who may read where Python is installed, though it be in another's home."""


@pytest.mark.slow
def test_a_paper_is_made_of_one_sweep(tmp_path: Path) -> None:
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)}: not installed (Debian: texlive-latex-recommended, poppler-utils)")
    told = call("make_paper", tmp_path / "paper", "--seeds", "2", "--trials", "6", "--strategies", "random", "pso")
    assert sum(line.startswith("$ nasrun ") for line in told.splitlines()) <= 5
    assert (tmp_path / "paper" / "paper.pdf").read_bytes().startswith(b"%PDF")
    log = (tmp_path / "paper" / "paper.log").read_text(errors="replace")
    assert "Citation" not in log.partition("undefined")[0][-80:]
    assert "multiply defined" not in log
    assert len(list((tmp_path / "paper").glob("page-*.png"))) > 10
    tex = (tmp_path / "paper" / "paper.tex").read_text()
    pictures = {
        path.relative_to(tmp_path / "paper").with_suffix("") for path in (tmp_path / "paper" / "main").rglob("*.pdf")
    }
    assert pictures
    assert all(f"{{{place}}}" in tex for place in pictures), "every picture is in the paper"


def test_a_table_of_small_networks_is_made_and_searched(tmp_path: Path, nasrun_inprocess: Callable) -> None:
    """Interrupted and gone on with, its rows are the same but for the times; all six strategies search it."""
    words = ("--networks", "5", "evaluator.epochs=1", "dataset.train_samples=100", "hardware.threads=1")
    words += ("search_space.max_depth=2", "search_space.filters=[4]")  # 9 networks, 5 of which are in the table
    search = call("make_cnn_table", tmp_path / "whole.csv", *words).split()
    whole = (tmp_path / "whole.csv").read_text()
    (tmp_path / "cut.csv").write_text("".join(whole.splitlines(keepends=True)[:3]) + "R4k1re")
    call("make_cnn_table", tmp_path / "cut.csv", *words)
    first, second = (list(csv.DictReader((tmp_path / name).open())) for name in ("whole.csv", "cut.csv"))
    assert len(first) == 5
    assert [{**row, "seconds": ""} for row in first] == [{**row, "seconds": ""} for row in second]
    (tmp_path / "mine.csv").write_text("genome,val_accuracy\n")
    other = subprocess.run([sys.executable, SCRIPTS / "make_cnn_table.py", tmp_path / "mine.csv", *words], check=False)
    assert other.returncode != 0
    assert (tmp_path / "mine.csv").read_text() == "genome,val_accuracy\n"
    strategies = "random,aging_evolution,local_search,reinforce,pso,tpe"
    quiet = "output.plots=false output.console=none hydra.sweep.dir=found"
    done = nasrun_inprocess(f"-m strategy={strategies} seed=0 trials=20 {' '.join(search[1:])} {quiet}")
    assert done.returncode == 0, done.stderr
    shown = nasrun_inprocess("compare found --out compared")
    assert shown.returncode == 0, shown.stderr
    with (tmp_path / "compared" / "compare.csv").open() as file:
        assert {"val_regret", "test_regret"} <= {row["measure"] for row in csv.DictReader(file)}


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="only root becomes another user")
def test_a_run_packed_here_is_equal_under_another_user(tmp_path: Path, nasrun_inprocess: Callable) -> None:
    """Another real user, whose home and folder are others, unpacks a pack and makes the run again."""
    table = "search_space=nasbench201 evaluator=table dataset=cifar10 trials=12"
    assert nasrun_inprocess(f"{table} strategy=aging_evolution hydra.run.dir=run").returncode == 0
    assert nasrun_inprocess("pack run --out run.zip").returncode == 0
    home = Path("/tmp") / f"nasrun_home_{os.getpid()}"
    home.mkdir()
    try:
        shutil.copy(tmp_path / "run.zip", home / "run.zip")
        for path in (home, home / "run.zip"):
            os.chown(path, ANOTHER, ANOTHER)
        command = str(Path(sys.executable).with_name("nasrun"))
        environment = {"HOME": str(home), "USER": "nobody", "PATH": os.environ["PATH"]}

        def by_another(*words: str) -> "subprocess.CompletedProcess[str]":
            return subprocess.run(
                [*AS_ANOTHER, command, *words], cwd=home, env=environment, capture_output=True, text=True, check=False
            )

        assert by_another("unpack", "run.zip").returncode == 0
        again = by_another("rerun", "run")
        assert again.returncode == 0, again.stderr
        assert "equal in" in again.stdout
        assert (home / "run_rerun" / "journal.jsonl").stat().st_uid == ANOTHER
    finally:
        shutil.rmtree(home)

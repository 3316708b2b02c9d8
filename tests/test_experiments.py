"""The experiments that fit into a test, and the scripts that make their tables."""

import csv
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.runner.test_crash import SCRIPTS

PROGRAM = Path(sys.executable).with_name("nasrun")


@pytest.mark.slow
def test_smoke_is_a_whole_run(tmp_path: Path) -> None:
    done = subprocess.run(
        [PROGRAM, "experiment=smoke", "hardware.threads=1", f"hydra.run.dir={tmp_path / 'run'}"], capture_output=True
    )
    assert done.returncode == 0, done.stderr
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert {"trials.csv", "measurements.csv", "history.csv", "genomes.txt", "best.json", "summary.json"} <= names
    assert (tmp_path / "run" / "best" / "model.safetensors").stat().st_size > 1000
    assert (tmp_path / "run" / "plots" / "incumbent.png").stat().st_size > 1000


@pytest.mark.slow
def test_the_course_table_has_a_row_per_mutation(tmp_path: Path) -> None:
    small = (
        "dataset=fashion_mnist_mini",
        "dataset.train_samples=300",
        "trials=4",
        "strategy.population=2",
        "strategy.elitism=1",
        "strategy.tournament=2",
        "search_space.max_depth=3",
        "search_space.filters=[4,8]",
        "evaluator.epochs=1",
        "evaluator.final_epochs=1",
        "evaluator.final_data=train",
        "output.plots=false",
    )
    sweep = tmp_path / "sweep"
    done = subprocess.run(
        [PROGRAM, "experiment=course_mutations", *small, f"hydra.sweep.dir={sweep}"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    table = subprocess.run(
        [sys.executable, SCRIPTS / "tables.py", "course", sweep], capture_output=True, text=True, check=True
    )
    rows = [line.split("|")[1].strip() for line in table.stdout.splitlines() if line.startswith("|")]
    assert rows[2:] == ["swap", "inversion", "filters", "replace_layer", "add_layer"]
    for directory in (path.parent for path in sweep.glob("*/trials.csv")):
        (mutation,) = yaml.safe_load((directory / ".hydra" / "config.yaml").read_text())["strategy"]["mutations"]
        with (directory / "trials.csv").open() as file:
            assert {row["origin"] for row in csv.DictReader(file)} <= {"sample", mutation}

"""Evaluator table: files of records, and runs from the command line."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nasrun.core.options import ConfigError
from nasrun.tables import TableError
from tests.evaluators.look_ups import CELLS_101, final, look_up, prepared
from tests.support import setup_of
from tests.tables import tfrecord_writer as writer


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NASRUN_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def records(tmp_path: Path) -> tuple[Path, list[writer.Written]]:
    """A file of NAS-Bench-101's records, and what was written into it."""
    runs = list(writer.runs(3, 12, epochs=(4, 108)))
    path = tmp_path / "some.tfrecord"
    writer.write(path, map(writer.payload, runs))
    return path, runs


def test_a_file_of_records(records: tuple[Path, list[writer.Written]]) -> None:
    path, runs = records
    run = (*CELLS_101, f"evaluator.table={path}")
    setup = prepared(*run)
    assert set(setup.evaluator.metrics) == {"val_accuracy", "parameters", "flops", "epochs", "simulated_seconds"}
    repeats = [entry for entry in runs if entry.cell == runs[0].cell and entry.epochs == 108]
    text = setup.space.format(runs[0].genome)
    metrics = look_up(setup, text).metrics
    assert metrics["epochs"] == 108
    assert metrics["val_accuracy"] == pytest.approx(np.mean([entry.evaluations[-1][3] for entry in repeats]))
    assert metrics["simulated_seconds"] == pytest.approx(np.mean([entry.evaluations[-1][1] for entry in repeats]))
    drawn = prepared(*run, "evaluator.repeat=draw", "evaluator.epochs=4")
    short = [entry for entry in runs if entry.cell == runs[0].cell and entry.epochs == 4]
    assert look_up(drawn, text, seed=7).metrics["val_accuracy"] == short[7 % 3].evaluations[-1][3]
    assert final(setup, text)["test_accuracy"] == pytest.approx(np.mean([e.evaluations[-1][4] for e in repeats]))
    assert (
        look_up(setup, text, budget=36).error
        == "table some.tfrecord has no trainings of 36 epochs; it has those of 4, 108"
    )
    with pytest.raises(ConfigError, match=r"^evaluator\.epochs=36: table some\.tfrecord has no trainings of 36 epochs"):
        prepared(*run, "evaluator.epochs=36")


def test_a_damaged_file_of_records_is_refused(records: tuple[Path, list[writer.Written]]) -> None:
    path, _ = records
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(TableError, match=r"record 72 \(at byte [\d,]+\) is truncated"):
        prepared(*CELLS_101, f"evaluator.table={path}")


def test_a_file_of_records_that_moved_is_known_by_its_content(
    records: tuple[Path, list[writer.Written]], nasrun_inprocess: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, runs = records
    monkeypatch.chdir(path.parent)
    space = setup_of(*CELLS_101).space
    genomes = ",".join(dict.fromkeys(f'"{space.format(run.genome)}"' for run in runs))
    words = f"search_space=nasbench101 evaluator=table dataset=cifar10 evaluator.table={path.name} strategy=fixed"
    words += f" 'strategy.genomes=[{genomes}]' trials=3 output.plots=false output.console=none max_failures=null"
    assert nasrun_inprocess(f"{words} hydra.run.dir=one").returncode == 0
    monkeypatch.chdir("/")
    answer = nasrun_inprocess(f"resume {path.parent}/one trials=4")
    assert answer.returncode == 0, answer.stderr
    monkeypatch.chdir(path.parent)
    moved = path.rename(path.with_name("moved.tfrecord"))
    assert nasrun_inprocess("resume one trials=5").returncode == 2
    answer = nasrun_inprocess(f"resume one trials=5 evaluator.table={moved.name}")
    assert answer.returncode == 0, answer.stderr
    other = path.with_name("other.tfrecord")
    writer.write(other, map(writer.payload, writer.runs(4, 12, epochs=(4, 108))))
    answer = nasrun_inprocess(f"resume one trials=6 evaluator.table={other.name}")
    assert answer.returncode == 2
    assert "evaluator.table: other.tfrecord has changed since the run began" in answer.stderr


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "trials.csv").open() as file:
        return list(csv.DictReader(file))


def test_a_run_from_the_command_line(nasrun: Callable[..., Any], tmp_path: Path) -> None:
    command = "strategy=random search_space=nasbench101 evaluator=table trials=60 output.plots=false hydra.run.dir=run"
    done = nasrun(command)
    assert done.returncode == 0, done.stderr
    rows = rows_of(tmp_path / "run")
    assert len(rows) == 60
    assert {row["status"] for row in rows} == {"ok", "infeasible"}
    assert {row["error"] for row in rows if row["status"] != "ok"} == {"table ec_nas does not hold this architecture"}
    assert not [name for name in rows[0] if name.startswith("test_")]
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    measured = [row for row in rows if row["status"] == "ok" and not row["reuse_of"]]
    assert summary["simulated_seconds"] == pytest.approx(sum(float(row["simulated_seconds"]) for row in measured))
    assert set(summary["final"]) == {"test_accuracy", "test_regret", "val_regret"}
    assert not (tmp_path / "run" / "best").exists()
    ending = done.stdout.splitlines()[-10:]
    assert any(line.startswith("time") and "simulated" in line for line in ending)
    assert any(line.startswith("test_accuracy") for line in ending)
    assert any(line.startswith("val_regret") for line in ending)
    # The same search, extended.
    assert nasrun("resume run trials=80").returncode == 0
    assert rows_of(tmp_path / "run")[:60] == rows


def test_a_dry_run(nasrun: Callable[..., Any]) -> None:
    done = nasrun("search_space=nasbench201 evaluator=table dataset=cifar100 dry_run=true")
    assert done.returncode == 0, done.stderr
    assert "microseconds per trial" in done.stdout
    assert "cifar100: 3 x 32 x 32 to 100" in done.stdout

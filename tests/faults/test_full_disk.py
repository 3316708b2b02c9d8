"""A disk that is full while each of a run's files is written; with room again, the run comes to the same."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from nasrun.checkpoints.store import save_weights
from nasrun.cli.report import report
from nasrun.core.options import ConfigError
from nasrun.runner.errors import RunError
from nasrun.runner.run import resume
from nasrun.storage import journal
from tests.evaluators.conftest import SMALL
from tests.faults import disks
from tests.faults.disks import can_mount, disk, filled
from tests.faults.runs import COMMAND, QUICK, Process, count, cut, results, run, temporary_files
from tests.runner.test_shared_runs import SMALL as SHARED

TRAIN = (*SMALL, "strategy=random", "trials=5", "output.keep=all", "evaluator.final_epochs=1")
TRAIN = (*(word for word in TRAIN if not word.startswith("search_space.dense")), "search_space.dense=256")
ONE_WAY = pytest.mark.parametrize("small", ["disk"], indirect=True)
ENDING = r"(No space left on device|File too large); free some space, then continue with: nasrun resume [^\n]+"


@pytest.fixture(params=["disk", "limit"])
def small(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A small disk, where one can be mounted; always, a folder in which no file may become too long."""
    if request.param == "limit":
        monkeypatch.setattr(disks, "can_mount", lambda: False)
    with disk(tmp_path / "disk", 2000) as folder:
        yield folder
        assert temporary_files(folder) == []


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tmp_path_factory.mktemp("trained") / "run", *TRAIN)


def test_the_journal(tmp_path: Path) -> None:
    words = (*QUICK, "trials=600", "output.plots=false", "output.console=none")
    expected = results(run(tmp_path / "whole", "trials=600"))
    with disk(tmp_path / "disk", 128) as folder:
        program = [] if can_mount() else ["prlimit", f"--fsize={100 * 1024}"]
        code, error = Process(folder, *words, "hydra.run.dir=run", program=[*program, COMMAND]).end()
        assert code == 1
        assert error.count("\n") == 1
        assert error.startswith("nasrun: run: ")
        assert "free some space, then continue with: nasrun resume run" in error
        assert 0 < count(folder / "run", "tell") < 600
        if can_mount():
            subprocess.run(["mount", "-o", "remount,size=8m", str(folder)], check=True)
        resume(folder / "run", {})
        assert results(folder / "run") == expected
        assert temporary_files(folder) == []


def test_a_checkpoint(small: Path, trained: Path) -> None:
    directory = small / "run"
    left = 60_000 if small.is_mount() else 10_000
    with pytest.raises(RunError, match=rf"checkpoints/.*: {ENDING}"), filled(small, left):
        run(directory, *TRAIN)
    statuses = [event["status"] for event in journal.read(directory / journal.NAME) if event["event"] == "measure"]
    assert statuses == ["ok"] * len(statuses)
    resume(directory, {})
    assert len(list((directory / "checkpoints").iterdir())) == 5
    assert results(directory) == results(trained)


def test_the_weights_of_the_winner(small: Path, trained: Path) -> None:
    directory = run(small / "run", *TRAIN)
    cut(directory, "final")
    (directory / "best" / "model.safetensors").unlink()
    with pytest.raises(RunError, match=ENDING), filled(small, 12_000):
        resume(directory, {})
    resume(directory, {})
    assert results(directory) == results(trained)


def test_tables(small: Path) -> None:
    directory = run(small / "run", "trials=40")
    expected = results(directory)
    (directory / "trials.csv").unlink()
    with filled(small, 0):
        with pytest.raises(RunError, match=ENDING):
            resume(directory, {})
        with pytest.raises(ConfigError, match=r"cannot be written to \((No space left on device|File too large)\)"):
            report(directory)
    assert (directory / "measurements.csv").stat().st_size > 0
    resume(directory, {})
    assert results(directory) == expected


@ONE_WAY
def test_pictures(small: Path) -> None:
    directory = run(small / "run", "trials=8")
    room = sum(path.stat().st_size // 4096 * 4096 + 8192 for path in directory.iterdir() if path.is_file())
    with pytest.raises(RunError, match=ENDING), filled(small, room if small.is_mount() else 12_000):
        resume(directory, {"output.plots": True})
    resume(directory, {"output.plots": True})
    assert (directory / "report.html").is_file()
    assert (directory / "plots" / "incumbent.png").is_file()


@ONE_WAY
def test_shared_weights(small: Path) -> None:
    words = (*SHARED, "trials=5")
    with pytest.raises(RunError, match=ENDING), filled(small, 20_000):
        run(small / "run", *words)
    assert count(small / "run", "shared") == 0
    resume(small / "run", {})
    assert results(small / "run") == results(run(small.parent / "whole", *words))


def test_the_directory_itself(small: Path) -> None:
    with pytest.raises(ConfigError, match="run: cannot be created"), filled(small, 0):
        run(small / "run", "trials=5")
    assert [path.name for path in small.iterdir()] == []


def test_weights_leave_the_old_ones(small: Path) -> None:
    path = small / "x.safetensors"
    save_weights(path, {"old": torch.ones(2)})
    before = path.read_bytes()
    with pytest.raises(OSError, match=r"No space left|File too large"), filled(small, 4096):
        save_weights(path, {"new": torch.ones(100_000)})
    assert path.read_bytes() == before

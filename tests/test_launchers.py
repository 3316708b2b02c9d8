"""Sweeps whose jobs Hydra's launchers run in other processes: each run is whole, and one that fails costs no other."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from nasrun.cli.compare import compare

SWEEP = "-m strategy=random evaluator=synthetic dataset=synthetic output.plots=false output.console=none trials=4"
WHOLE = ("trials.csv", "measurements.csv", "genomes.txt", "best.json", "summary.json", ".hydra/config.yaml")

Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
def test_a_launcher_runs_a_sweep(
    launcher: str, nasrun: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = "hydra.sweep.dir=swept 'hydra.sweep.subdir=${hydra.job.num}'"
    done = nasrun(f"{SWEEP} hydra/launcher={launcher} {where} evaluator.fail_rate=1.0,0.0 seed=1")
    assert done.returncode == 1
    assert "nasrun: no trial succeeded; the last: " in done.stderr
    assert "; the run's files are in swept/0\n" in done.stderr
    assert "Traceback" not in done.stderr
    for name in WHOLE:
        assert (tmp_path / "swept" / "1" / name).is_file()
        # The one that failed is there too, but for its best, which it has not.
        assert (tmp_path / "swept" / "0" / name).is_file() == (name != "best.json")
    assert len((tmp_path / "swept" / "1" / "genomes.txt").read_text().splitlines()) == 4

    alone = nasrun(f"{SWEEP.removeprefix('-m ')} seed=1 hydra.run.dir=alone")
    assert (alone.returncode, alone.stderr) == (0, "")
    for name in ("trials.csv", "genomes.txt"):
        assert (tmp_path / "swept" / "1" / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()

    compare([str(tmp_path / "swept"), "by=evaluator.fail_rate"])
    assert "4 trials" in capsys.readouterr().out

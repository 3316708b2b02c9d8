"""Sweeps that were begun by another version of nasrun."""

from collections.abc import Callable
from pathlib import Path

from tests.cli.quick_runs import QUICK


def test_runs_that_lack_keys_added_since_are_found(nasrun_inprocess: Callable, tmp_path: Path) -> None:
    sweep = f"-m {QUICK} hydra.sweep.dir=sweep"
    assert nasrun_inprocess(f"{sweep} seed=0,1").returncode == 0
    runs = sorted(path for path in (tmp_path / "sweep").iterdir() if path.is_dir())
    for run in runs:
        config = run / ".hydra" / "config.yaml"
        lines = config.read_text().splitlines(keepends=True)
        kept = [line for line in lines if line.strip() not in ("inputs: null", "patience_trials: null")]
        assert len(kept) == len(lines) - 2
        config.write_text("".join(kept))
    assert nasrun_inprocess("resume sweep seed=0,1,2").returncode == 0
    now = sorted(path for path in (tmp_path / "sweep").iterdir() if path.is_dir())
    assert len(now) == 3
    assert set(runs) < set(now)
    again = nasrun_inprocess("resume sweep seed=0,1,2 prescreen.pool=20")
    assert again.returncode == 0
    assert len([path for path in (tmp_path / "sweep").iterdir() if path.is_dir()]) == 6, "a key with a value counts"

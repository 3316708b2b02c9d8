"""A finished run, and copies of it that tests may spoil."""

import shutil
from pathlib import Path

import pytest

from tests.faults.foreign_runs import QUIET, WORDS


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, as nasrun makes it."""
    from nasrun.config.compose import compose_config, task_config
    from nasrun.runner.run import start

    folder = tmp_path_factory.mktemp("made") / "run"
    config = task_config(compose_config([*WORDS.split(), *QUIET.split()]))
    start(config, folder, unique=False, choices={"strategy": "aging_evolution", "dataset": "synthetic"})
    return folder


@pytest.fixture
def given(finished: Path, tmp_path: Path) -> Path:
    """A copy of it, to be spoilt."""
    return Path(shutil.copytree(finished, tmp_path / "given"))

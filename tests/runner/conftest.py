"""A run on photos, and copies of it that tests may spoil."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import COMMAND
from tests.runner.photo_runs import FOLDER, WORDS, Call, change_header, make_photos


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a project of its own in it: `photos`, and `run`, which was trained on them from there."""
    folder = tmp_path_factory.mktemp("data") / "project"
    make_photos(folder / "photos")
    command = [COMMAND, *WORDS.split(), *FOLDER.split(), "hydra.run.dir=run"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def project(finished: Path, tmp_path: Path, nasrun_inprocess: Call, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it that may be spoilt, in which commands run. Its run was made where it lies, as far as it knows."""
    folder = tmp_path / "project"
    shutil.copytree(finished, folder)
    change_header(folder / "run", lambda header: header["paths"].update(folder=str(folder)))
    monkeypatch.chdir(folder)
    return folder

"""Run directories of every kind as arguments of a command."""

import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.quick_runs import QUICK, refused, write
from tests.conftest import COMMAND
from tests.faults.disks import disk


@pytest.mark.parametrize("form", ["hydra.run.dir=here", "++hydra.run.dir=here", "--config-dir=mine experiment=place"])
def test_a_chosen_directory_is_not_replaced_by_another(form: str, nasrun_inprocess: Callable, tmp_path: Path) -> None:
    write(tmp_path / "mine" / "experiment" / "place.yaml", "# @package _global_\nhydra: {run: {dir: here}}\n")
    write(tmp_path / "here" / "notes.txt", "mine")
    before = sorted(tmp_path.rglob("*"))
    answer = refused(nasrun_inprocess(f"{QUICK} {form}"))
    assert answer == "here is not an empty folder; choose another: hydra.run.dir=PATH"
    assert sorted(tmp_path.rglob("*")) == before


def test_a_link_to_an_empty_folder_is_filled(nasrun_inprocess: Callable, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "here").symlink_to("real")
    answer = nasrun_inprocess(f"{QUICK} hydra.run.dir=here")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert (tmp_path / "here").is_symlink()
    assert (tmp_path / "real" / "best.json").is_file()
    assert nasrun_inprocess("resume here trials=5").returncode == 0


@pytest.mark.parametrize("words", ["hydra.run.dir=here", "hydra.run.dir=here/run", "-m hydra.sweep.dir=here/sweep"])
def test_a_link_to_nothing_is_refused(words: str, nasrun_inprocess: Callable, tmp_path: Path) -> None:
    (tmp_path / "here").symlink_to("gone")
    answer = refused(nasrun_inprocess(f"{QUICK} {words}"))
    assert "here: is a link to gone, which does not exist; create that, or choose another: hydra." in answer
    assert [path.name for path in tmp_path.iterdir()] == ["here"]


def test_logs_that_are_there_already_are_no_obstacle(nasrun_inprocess: Callable, tmp_path: Path) -> None:
    write(tmp_path / "here" / "slurm-17.out", "begins\n")
    assert nasrun_inprocess(f"{QUICK} hydra.run.dir=here").returncode == 0
    assert (tmp_path / "here" / "slurm-17.out").read_text() == "begins\n"
    assert (tmp_path / "here" / "best.json").is_file()
    assert nasrun_inprocess("resume here trials=5").returncode == 0
    assert not list((tmp_path / "here").glob(".*.tmp"))


def test_a_mount_point_is_filled(nasrun_inprocess: Callable, tmp_path: Path) -> None:
    with disk(tmp_path / "here", kilobytes=8192):
        answer = nasrun_inprocess(f"{QUICK} hydra.run.dir=here")
        assert (answer.returncode, answer.stderr) == (0, "")
        assert (tmp_path / "here" / "best.json").is_file()
        assert not list((tmp_path / "here").glob(".*.tmp"))


def test_a_working_directory_that_was_deleted(tmp_path: Path) -> None:
    command = f"mkdir gone; cd gone; rmdir ../gone; {COMMAND} {QUICK}; echo $?; {COMMAND} resume x; {COMMAND} --version"
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True)
    line = "nasrun: the working directory was deleted; change to another one (cd) and try again\n"
    assert done.stderr.endswith(line * 2)
    assert "Traceback" not in done.stderr
    assert done.stdout.startswith("2\nnasrun ")


@pytest.mark.parametrize("name", ["a=b", "seed=1,strategy=random", "my run", "it's; rm -rf $HOME", "ü&é", "-run"])
def test_what_is_said_can_be_pasted(name: str, nasrun_inprocess: Callable, tmp_path: Path) -> None:
    place = shlex.quote(f"hydra.run.dir='./{name}'" if "'" not in name else f'hydra.run.dir="./{name}"')
    assert nasrun_inprocess(f"{QUICK} {place}").returncode == 0
    assert (tmp_path / name / "best.json").is_file()
    said = refused(nasrun_inprocess(f"{QUICK} {place}"))
    pasted = said.partition("continue with: nasrun ")[2]
    assert nasrun_inprocess(f"{pasted} trials=5").returncode == 0
    assert len((tmp_path / name / "genomes.txt").read_text().splitlines()) == 5
    assert nasrun_inprocess(pasted.replace("resume", "report")).returncode == 0


def test_a_directory_may_stand_behind_its_words(nasrun_inprocess: Callable, tmp_path: Path) -> None:
    assert nasrun_inprocess(f"{QUICK} hydra.run.dir=here").returncode == 0
    assert nasrun_inprocess("resume trials=5 here").returncode == 0
    assert len((tmp_path / "here" / "genomes.txt").read_text().splitlines()) == 5

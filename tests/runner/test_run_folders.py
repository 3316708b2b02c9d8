"""A run finds its data from any folder in which it is resumed, reported or exported."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.runner.photo_runs import FOLDER, WORDS, Call, change_header, events, make_photos, refused


def test_data_that_moved_are_still_found_when_all_of_it_moves(
    project: Path, nasrun_inprocess: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "deep/er").mkdir(parents=True)
    shutil.move("photos", "deep/photos")
    monkeypatch.chdir(project / "deep/er")
    assert nasrun_inprocess("resume ../../run trials=3 dataset.path=../photos").returncode == 0
    monkeypatch.chdir("/")
    shutil.move(project, tmp_path / "renamed")
    for words in ("resume {} trials=4", "report {}", "export {} --format safetensors"):
        answer = nasrun_inprocess(words.format(tmp_path / "renamed/run"))
        assert (answer.returncode, answer.stderr) == (0, "")


def test_a_run_works_from_any_working_directory(
    project: Path, nasrun_inprocess: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    for words in (f"resume {project}/run trials=3", f"report {project}/run", f"export {project}/run --format python"):
        answer = nasrun_inprocess(words)
        assert answer.returncode == 0, answer.stderr
        assert answer.stderr == ""
    # The config still says what was typed, and a later run from there is the same.
    assert "path: photos" in (project / "run/.hydra/config.yaml").read_text()
    # A run that left its project knows where that was.
    shutil.move(project / "run", tmp_path / "archived")
    answer = nasrun_inprocess(f"resume {tmp_path}/archived trials=4")
    assert answer.returncode == 0, answer.stderr
    # And a project that moved as a whole is one still.
    shutil.move(tmp_path / "archived", project / "run")
    shutil.move(project, tmp_path / "renamed")
    answer = nasrun_inprocess(f"resume {tmp_path}/renamed/run trials=5")
    assert answer.returncode == 0, answer.stderr
    assert not [e for e in events(tmp_path / "renamed/run") if "dataset.path" in e.get("changes", {})]
    # Where all of that fails, the present working directory is looked at, as ever.
    shutil.move(tmp_path / "renamed/run", tmp_path / "archived")
    refused(nasrun_inprocess(f"resume {tmp_path}/archived trials=6"), "dataset.path=photos: no such folder")
    monkeypatch.chdir(tmp_path / "renamed")
    assert nasrun_inprocess(f"resume {tmp_path}/archived trials=6").returncode == 0


def test_the_folder_that_is_near_is_not_taken_for_that_of_the_run(
    project: Path, nasrun_inprocess: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_photos(tmp_path / "photos", ("ant", "bee", "fly"))
    monkeypatch.chdir(tmp_path)
    assert nasrun_inprocess("resume project/run trials=3").returncode == 0
    refused(nasrun_inprocess("resume project/run trials=4 dataset.path=photos"), "not the data of the run (class names")


def test_an_architecture_is_taken_over_with_data_that_are_found(
    project: Path, nasrun_inprocess: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = (
        "experiment=train_best trials=1 evaluator.epochs=1 evaluator.final_epochs=1 evaluator.batch_size=8 hardware=cpu"
    )
    answer = nasrun_inprocess(f"{words} from=project/run output.plots=false hydra.run.dir=again hardware.threads=1")
    assert answer.returncode == 0, answer.stderr
    assert events(tmp_path / "again")[0]["data"] == events(project / "run")[0]["data"]


def test_a_run_is_continued_by_its_own_command_from_elsewhere(
    project: Path, nasrun_inprocess: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    elsewhere = f"{FOLDER.replace('photos', 'project/photos')} hydra.run.dir=project/run resume=true"
    answer = nasrun_inprocess(f"{WORDS.replace('trials=2', 'trials=3')} {elsewhere}")
    assert answer.returncode == 0, answer.stderr
    make_photos(tmp_path / "project/others", ("ant", "bee"))
    answer = nasrun_inprocess(f"{WORDS.replace('trials=2', 'trials=4')} {elsewhere.replace('/photos', '/others')}")
    refused(answer, "not the data of the run (class names: cat, dog then, ant, bee now)")


@pytest.mark.parametrize("paths", [3, {}, {"given": 3}, {"given": {"dataset.path": 3}, "folder": 3, "from_run": []}])
def test_paths_that_make_no_sense_are_passed_over(paths: Any, project: Path, nasrun_inprocess: Call) -> None:
    change_header(project / "run", lambda header: header.update(paths=paths))
    assert nasrun_inprocess("resume run trials=3").returncode == 0

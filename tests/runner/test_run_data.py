"""A run knows its data: moved ones are found or given anew, others are refused in one line that says what differs."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from nasrun.storage.journal import Line
from tests.conftest import COMMAND
from tests.runner.photo_runs import FOLDER, WORDS, Call, change_header, events, refused


def test_the_header_says_what_the_data_are(project: Path) -> None:
    header = events(project / "run")[0]
    data = header["data"]
    assert data["classes"] == ["cat", "dog"]
    assert data["counts"] == {"train": 43, "validation": 5, "test": 12}
    assert (data["task"]["channels"], data["task"]["height"], data["task"]["outputs"]) == (3, 8, 2)
    assert len(data["mean"]) == len(data["std"]) == 3
    assert len(data["fingerprint"]) == 64
    assert header["paths"] == {"given": {"dataset.path": "photos"}, "folder": str(project), "from_run": ".."}
    assert json.loads(Path("run/environment.json").read_text())["data"] == data


def test_workers_record_the_same(project: Path) -> None:
    command = [COMMAND, *WORDS.split(), *FOLDER.split(), "hydra.run.dir=workers", "hardware.workers=2"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert events(project / "workers")[0]["data"] == events(project / "run")[0]["data"]


def test_data_that_moved_are_given_anew(project: Path, nasrun_inprocess: Call, tmp_path: Path) -> None:
    """Resumed, reported, exported, compared."""
    shutil.copytree("run", tmp_path / "before")
    shutil.move("photos", tmp_path / "elsewhere")
    refused(
        nasrun_inprocess("resume run trials=3"),
        "dataset.path=photos: no such folder",
        "if the run's data were moved: nasrun resume run dataset.path=PATH",
    )
    assert "resume" not in [event["event"] for event in events(project / "run")]
    answer = nasrun_inprocess("resume run trials=3 dataset.path=../elsewhere")
    assert answer.returncode == 0, answer.stderr
    [change] = [event["changes"] for event in events(project / "run") if event["event"] == "resume"]
    assert change == {"trials": 3, "dataset.path": "../elsewhere"}
    # From here on it knows where they are.
    assert nasrun_inprocess("resume run trials=4").returncode == 0
    assert nasrun_inprocess("report run").returncode == 0
    answer = nasrun_inprocess("export run --format safetensors")
    assert answer.returncode == 0, answer.stderr
    assert "same class for 12 of 12 test images" in answer.stdout
    answer = nasrun_inprocess(f"compare run {tmp_path / 'before'} by=trials")
    assert answer.returncode == 0, answer.stderr


def nothing_was_measured_of_the_files(card: str) -> bool:
    """Whether a model card tells the test accuracy that is on the run's record, and no other."""
    told = [line for line in card.splitlines() if line.startswith("- test accuracy")]
    return [line.partition(":")[0] for line in told] == ["- test accuracy, 95 % interval"]


def test_a_run_whose_data_are_gone_is_reported_exported_and_predicts(project: Path, nasrun_inprocess: Call) -> None:
    recorded = json.loads(Path("run/best.json").read_text())["final"]["test_accuracy"]
    shutil.move("photos/cat/0.png", "one.png")
    shutil.rmtree("photos")
    assert nasrun_inprocess("report run").returncode == 0
    answer = nasrun_inprocess("export run")
    assert answer.returncode == 0
    assert answer.stdout.count("same class for 256 of 256 random images") == 4
    assert answer.stderr == (
        "nasrun: test accuracy not measured: dataset.path=photos: no such folder; it must hold one folder of images "
        "per class; the files were compared on random images; if its data were moved, add "
        "dataset.path=PATH; to export without the data, add --no-data\n"
    )
    card = Path("run/export/MODEL_CARD.md").read_text()
    assert f"test_accuracy: {recorded:.4f} (in the run)" in card
    assert nothing_was_measured_of_the_files(card)
    assert "43 to train, 5 to validate, 12 to test" in card
    assert "| 0 | cat |" in card
    assert "The data of the run were not used for this export (dataset.path=photos: no such folder" in card
    for source in ("run", "run/export"):
        answer = nasrun_inprocess(f"predict {source} one.png")
        assert answer.returncode == 0, answer.stderr
        assert answer.stdout.split()[1] == "cat"


def test_an_export_measures_where_the_data_are_said_to_be(
    project: Path, nasrun_inprocess: Call, tmp_path: Path
) -> None:
    shutil.move("photos", tmp_path / "elsewhere")
    answer = nasrun_inprocess("export run ../elsewhere --format safetensors")
    refused(answer, "../elsewhere: expected key=value")
    answer = nasrun_inprocess("export run dataset.path=../elsewhere --format safetensors")
    assert answer.returncode == 0, answer.stderr
    assert "same class for 12 of 12 test images" in answer.stdout
    assert "test accuracy      " in answer.stdout
    shutil.rmtree("run/export")
    for words, said in (
        ("dataset.path=gone", "dataset.path={project}/gone: no such folder"),
        ("dataset.root=gone", "dataset.root: cannot be changed here; did you mean 'dataset.path'?"),
        ("trials=3", "trials: cannot be changed here"),
        ("--no-data dataset.path=../elsewhere", "--no-data dataset.path=../elsewhere: only one of these"),
    ):
        refused(nasrun_inprocess(f"export run {words}"), said.format(project=project))
        assert not Path("run/export").exists()


def renamed(project: Path) -> str:
    shutil.move("photos/cat", "photos/zebra")
    return "class names: cat then, zebra now"


def one_more(project: Path) -> str:
    for number in range(10):
        shutil.copy("photos/cat/0.png", f"photos/cat/new{number}.png")
    return "train images: 43 then, 50 now"


def repainted(project: Path) -> str:
    shutil.copy("photos/cat/1.png", "photos/cat/0.png")
    return "contents: the same number of images, but different images or labels in train"


def other_class(project: Path) -> str:
    shutil.copytree("photos/cat", "photos/bird")
    return "class names: bird now only"


CHANGES = [renamed, one_more, repainted, other_class]


@pytest.mark.parametrize("change", CHANGES)
def test_changed_data_are_refused_with_what_differs(
    change: Callable[[Path], str], project: Path, nasrun_inprocess: Call
) -> None:
    """By a resume and a comparison; an export and a report are of the run alone, and say so."""
    said, before = change(project), events(project / "run")
    refused(nasrun_inprocess("resume run trials=3"), f"dataset.path=photos: not the data of the run ({said}")
    assert events(project / "run") == before
    answer = nasrun_inprocess("export run --format safetensors")
    refused(answer, f"test accuracy not measured: dataset.path=photos: not the data of the run ({said}", "--no-data")
    card = Path("run/export/MODEL_CARD.md").read_text()
    assert nothing_was_measured_of_the_files(card)
    assert "| 0 | cat |" in card
    shutil.rmtree("run/export")
    # Who names the data is told that they are wrong; nothing is written.
    refused(nasrun_inprocess("export run dataset.path=photos"), f"not the data of the run ({said}")
    assert not Path("run/export").exists()
    answer = nasrun_inprocess("export run --no-data --format safetensors")
    assert (answer.returncode, answer.stderr) == (0, "")
    answer = nasrun_inprocess(f"{WORDS} {FOLDER} seed=1 hydra.run.dir=second")
    assert answer.returncode == 0, answer.stderr
    refused(nasrun_inprocess("compare run second"), "not the same data: ", said.split(" then")[0].split(":")[0])
    refused(nasrun_inprocess("report run"), f"not the data of the run ({said}", "nasrun report run --no-data")
    # What is asked to look at none needs none.
    answer = nasrun_inprocess("report run --no-data")
    assert (answer.returncode, answer.stderr) == (0, "")
    answer = nasrun_inprocess("predict run photos")
    assert answer.returncode == 0
    assert {line.split()[1] for line in answer.stdout.splitlines()} == {"cat", "dog"}


def test_other_options_of_the_data_may_not_change(project: Path, nasrun_inprocess: Call) -> None:
    for word in ("dataset.split_seed=1", "dataset.height=9", "search_space.max_depth=3"):
        answer = nasrun_inprocess(f"resume run {word}")
        refused(answer, f"{word}: would change the search", "dataset.path")


def test_a_damaged_header_is_made_again_with_the_data(project: Path, nasrun_inprocess: Call) -> None:
    header = events(project / "run")[0]
    path = project / "run/journal.jsonl"
    path.write_bytes(b"x" + path.read_bytes())
    assert nasrun_inprocess("resume --salvage run").returncode == 0
    saved = events(project / "run")[0]
    assert (saved["data"], saved["paths"]["given"]) == (header["data"], header["paths"]["given"])


@pytest.mark.parametrize(
    "damage",
    [{"data": {"task": 3}}, {"data": 3}, {"data": {}}, {"data": {"task": {"name": "x"}}}],
    ids=str,
)
def test_a_header_that_makes_no_sense_is_refused(damage: Line, project: Path, nasrun_inprocess: Call) -> None:
    change_header(project / "run", lambda header: header.update(damage))
    for verb in ("resume", "report", "export"):
        answer = nasrun_inprocess(f"{verb} run")
        assert answer.returncode == 1
        assert answer.stderr.startswith("nasrun: run/journal.jsonl: does not describe a run (")
        assert answer.stderr.count("\n") == 1

"""A run knows its data: moved ones are found or given anew, others are refused in one line that says what differs."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nasrun.storage import journal
from nasrun.storage.journal import Line
from tests.conftest import COMMAND, Answer

WORDS = (
    "trials=2 strategy=random search_space=mlp evaluator.epochs=1 evaluator.final_epochs=2 evaluator.batch_size=8 "
    "hardware=cpu hardware.threads=1 hardware.precision=fp32 output.plots=false output.console=plain"
)
FOLDER = "dataset=image_folder dataset.path=photos dataset.height=8 dataset.width=8"
LANDSCAPE = "evaluator=synthetic strategy=random trials=5 output.plots=false output.console=none"

Call = Callable[[str], Answer]


def make_photos(folder: Path, classes: tuple[str, ...] = ("cat", "dog"), count: int = 30) -> None:
    """Noisy pictures of a brightness for each class."""
    rng = np.random.default_rng(0)
    for number, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for picture in range(count):
            pixels = rng.integers(80 * number, 80 * number + 90, (10, 10, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{picture}.png")


def make_arrays(path: Path, classes: int = 2, count: int = 60) -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(count) % classes
    images = (labels[:, None, None] * 60 + rng.integers(0, 60, (count, 8, 8))).astype(np.uint8)
    np.savez(path, images=images, labels=labels)


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


def change_header(directory: Path, change: Callable[[Line], Any]) -> None:
    """Change the first line of a journal, which stays whole."""
    path = directory / journal.NAME
    first, rest = path.read_bytes().split(b"\n", 1)
    header = journal.parse(first)
    assert header is not None
    change(header)
    path.write_bytes(journal.line_of(header) + rest)


def events(directory: Path) -> list[Line]:
    return journal.read(directory / journal.NAME)


def refused(answer: Answer, *words: str) -> None:
    """Exit code 2, and one line that holds the words."""
    assert answer.returncode == 2, answer
    assert answer.stderr.count("\n") == 1, answer.stderr
    for word in words:
        assert word in answer.stderr


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
        "if the run's data lie elsewhere now: nasrun resume run dataset.path=PATH",
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
        "per class; the files are from the run alone, compared on random images; if its data lie elsewhere now: "
        "dataset.path=PATH, or without looking at data: --no-data\n"
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
        ("dataset.root=gone", "dataset.root: cannot be given here; did you mean 'dataset.path'?"),
        ("trials=3", "trials: cannot be given here"),
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
    return "contents: as many images, but others or with other labels in train"


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


def test_other_options_of_the_data_may_not_change(project: Path, nasrun_inprocess: Call) -> None:
    for word in ("dataset.split_seed=1", "dataset.height=9", "search_space.max_depth=3"):
        answer = nasrun_inprocess(f"resume run {word}")
        refused(answer, f"{word}: would change the search", "dataset.path")


def test_an_arrays_file_that_was_replaced_is_refused(
    nasrun_inprocess: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_arrays(tmp_path / "a.npz")
    words = f"{WORDS} dataset=arrays dataset.path"
    assert nasrun_inprocess(f"{words}=a.npz hydra.run.dir=one").returncode == 0
    # Two paths to one file are one benchmark.
    assert nasrun_inprocess(f"{words}={tmp_path}/a.npz seed=1 hydra.run.dir=two").returncode == 0
    answer = nasrun_inprocess("compare one two")
    assert answer.returncode == 0, answer.stderr
    make_arrays(tmp_path / "a.npz", classes=3)
    refused(nasrun_inprocess("resume one trials=3"), "dataset.path=a.npz: not the data of the run (class names: 2 now")
    # One path to two contents is two.
    assert nasrun_inprocess(f"{words}=a.npz seed=2 hydra.run.dir=three").returncode == 0
    refused(nasrun_inprocess("compare one three"), "not the same data: class names: 2 in three only; only runs of one")


def test_a_teacher_that_moved_is_known_by_its_weights(
    project: Path, nasrun_inprocess: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = f"{WORDS} {FOLDER} evaluator.teacher"
    assert nasrun_inprocess(f"{words}=run seed=1 hydra.run.dir=student").returncode == 0
    shutil.move("run", "teacher")
    answer = nasrun_inprocess(f"{words}=teacher seed=2 hydra.run.dir=other")
    assert answer.returncode == 0, answer.stderr
    answer = nasrun_inprocess("compare student other")
    assert answer.returncode == 0, answer.stderr
    refused(nasrun_inprocess("resume student trials=3"), "evaluator.teacher=run: there is no best/model.safetensors")
    answer = nasrun_inprocess("resume student trials=3 evaluator.teacher=teacher")
    assert answer.returncode == 0, answer.stderr
    monkeypatch.chdir("/")
    assert nasrun_inprocess(f"resume {project}/other trials=3").returncode == 0
    monkeypatch.chdir(project)
    refused(nasrun_inprocess("resume other evaluator.teacher=student"), "this run began with other weights")
    refused(nasrun_inprocess("resume other evaluator.teacher=null"), "would change the search")
    assert nasrun_inprocess(f"{words}=student seed=3 hydra.run.dir=third").returncode == 0
    refused(nasrun_inprocess("compare student third"), "evaluator.teacher: {genome:")


def test_where_no_image_is_read_the_task_is_compared(nasrun_inprocess: Call, tmp_path: Path) -> None:
    make_arrays(tmp_path / "a.npz")
    words = f"{LANDSCAPE} dataset=arrays dataset.path=a.npz hydra.run.dir"
    assert nasrun_inprocess(f"{words}=one").returncode == 0
    assert events(tmp_path / "one")[0]["data"]["fingerprint"] is None
    shutil.move("a.npz", "b.npz")
    assert nasrun_inprocess("report one").returncode == 0
    assert nasrun_inprocess("resume one trials=6 dataset.path=b.npz").returncode == 0
    make_arrays(tmp_path / "b.npz", classes=3)
    refused(nasrun_inprocess("resume one trials=7"), "task: 1 x 8 x 8 to 2 classes then, 1 x 8 x 8 to 3 classes now")


def test_the_folder_of_a_published_data_set_may_change(
    nasrun_inprocess: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Path("/usr/share/datasets/fashion-mnist")
    if not source.is_dir():
        pytest.skip("needs Debian's package dataset-fashion-mnist")
    monkeypatch.setenv("NASRUN_CACHE", str(tmp_path / "cache"))
    (tmp_path / "data").mkdir()
    (tmp_path / "data/fashion-mnist").symlink_to(source)
    words = f"{WORDS} dataset=fashion_mnist dataset.train_samples=100 evaluator.final_data=train"
    assert nasrun_inprocess(f"{words} hydra.run.dir=run").returncode == 0
    answer = nasrun_inprocess("resume run trials=3 dataset.root=data")
    assert answer.returncode == 0, answer.stderr
    refused(nasrun_inprocess("resume run trials=4 dataset.root=gone"), f"dataset.root={tmp_path}/gone: ", "=PATH")


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
        assert answer.stderr.startswith("nasrun: run/journal.jsonl: does not tell of a run (")
        assert answer.stderr.count("\n") == 1


@pytest.mark.parametrize("paths", [3, {}, {"given": 3}, {"given": {"dataset.path": 3}, "folder": 3, "from_run": []}])
def test_paths_that_make_no_sense_are_passed_over(paths: Any, project: Path, nasrun_inprocess: Call) -> None:
    change_header(project / "run", lambda header: header.update(paths=paths))
    assert nasrun_inprocess("resume run trials=3").returncode == 0

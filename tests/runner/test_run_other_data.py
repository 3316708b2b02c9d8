"""What a run knows of data that are no folder of images: files of arrays, teachers, published sets, the task alone."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.runner.photo_runs import FOLDER, WORDS, Call, events, refused

LANDSCAPE = "evaluator=synthetic strategy=random trials=5 output.plots=false output.console=none"


def make_arrays(path: Path, classes: int = 2, count: int = 60) -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(count) % classes
    images = (labels[:, None, None] * 60 + rng.integers(0, 60, (count, 8, 8))).astype(np.uint8)
    np.savez(path, images=images, labels=labels)


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
    refused(nasrun_inprocess("resume student trials=3"), "evaluator.teacher=run: it has no best/model.safetensors")
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

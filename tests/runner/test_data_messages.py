"""What a run tells of its data: on the console, in a dry run, in its directory and in the report."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nasrun.datasets.image_folder import ImageFolder
from tests.picture_files import fill

SHORT = "evaluator=train evaluator.epochs=1 evaluator.batch_size=8 evaluator.final_epochs=1 trials=1 strategy=random"
SHORT += " search_space=mlp search_space.max_width=8 hardware=cpu hardware.threads=1 output.console=plain"
SHORT += " hydra.run.dir=run dataset=image_folder dataset.path=photos dataset.height=20 dataset.width=20"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Parts of one's own, whose test folder is a copy of the training folder, with a file of another kind."""
    folder = tmp_path / "photos"
    fill(folder / "train", 6)
    fill(folder / "val", 3, seed=1)
    shutil.copytree(folder / "train", folder / "test")
    (folder / "train" / "dog" / "notes.<i>").write_text("none")
    return folder


EXPECTED = (
    "images: 18 to train, 9 to validate, 18 to test; 3 classes, equally many of each",
    "images of each class (train + validation + test): 6 + 3 + 6",
    "pictures: 20 x 20 pixels, read at 20 x 20",
    "the validation part is val/; dataset.validation is not used",
    "ignored: 1 file: 1 .<i>",
    "warning: 18 of 18 test images are also in training, so the test result is too high; "
    "is one part a copy of the other?",
)


def test_a_run_tells_of_its_data_at_its_start_and_keeps_it(photos: Path, nasrun_inprocess: Callable) -> None:
    answer = nasrun_inprocess(SHORT)
    assert (answer.returncode, answer.stderr) == (0, "")
    lines = answer.stdout.splitlines()
    places = [lines.index(line) for line in EXPECTED]
    assert places == sorted(places)
    assert places[-1] < next(place for place, line in enumerate(lines) if line.startswith("[1/1] trial 0"))
    run = photos.parent / "run"
    kept = (run / "data.json").read_bytes()
    assert json.loads(kept)["images"] == {"train": [6, 6, 6], "validation": [3, 3, 3], "test": [6, 6, 6]}
    page = (run / "report.html").read_text()
    assert "<h2>Data</h2>" in page
    assert "18 of 18 test images are also in training" in page
    assert "1 .&lt;i&gt;" in page
    assert "<i>" not in page
    assert '<table id="classes">' in page


def test_a_dry_run_tells_the_same(photos: Path, nasrun_inprocess: Callable) -> None:
    answer = nasrun_inprocess(f"{SHORT} dry_run=true")
    assert (answer.returncode, answer.stderr) == (0, "")
    told = [line[14:] for line in answer.stdout.splitlines()]
    place = told.index(EXPECTED[0])
    assert answer.stdout.splitlines()[place].startswith("data  ")
    assert [line for line in told[place:] if line in EXPECTED] == list(EXPECTED)
    assert not (photos.parent / "run").exists()


def test_a_resumed_run_keeps_the_same_file(photos: Path, nasrun_inprocess: Callable) -> None:
    assert nasrun_inprocess(SHORT).returncode == 0
    kept = (photos.parent / "run" / "data.json").read_bytes()
    (photos.parent / "run" / "data.json").unlink()
    answer = nasrun_inprocess("resume run trials=2")
    assert answer.returncode == 0, answer.stderr
    assert (photos.parent / "run" / "data.json").read_bytes() == kept
    assert EXPECTED[-1] in answer.stdout.splitlines()


def test_a_damaged_file_is_named_by_the_report(photos: Path, nasrun_inprocess: Callable) -> None:
    assert nasrun_inprocess(f"{SHORT} output.plots=false").returncode == 0
    (photos.parent / "run" / "data.json").write_text("{")
    answer = nasrun_inprocess("report run")
    assert answer.returncode == 2
    assert answer.stderr.startswith("nasrun: run/data.json: damaged (JSONDecodeError: ")
    assert len(answer.stderr.splitlines()) == 1


def test_a_run_that_reads_no_data_tells_nothing_of_them(nasrun_inprocess: Callable, tmp_path: Path) -> None:
    answer = nasrun_inprocess("evaluator=synthetic dataset=synthetic strategy=random trials=3 hydra.run.dir=run")
    assert answer.returncode == 0
    assert "images" not in answer.stdout
    assert not (tmp_path / "run" / "data.json").exists()
    assert "<h2>Data</h2>" not in (tmp_path / "run" / "report.html").read_text()


def test_a_winner_that_names_one_class_is_warned_about(tmp_path: Path, nasrun_inprocess: Callable) -> None:
    """Pictures of noise, which nothing can be learned of."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], [170, 30])
    np.savez(tmp_path / "noise.npz", images=rng.integers(0, 256, (200, 8, 8), dtype=np.uint8), labels=labels)
    words = SHORT.replace("image_folder dataset.path=photos dataset.height=20 dataset.width=20", "arrays")
    answer = nasrun_inprocess(f"{words} dataset.path=noise.npz")
    assert answer.returncode == 0, answer.stderr
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["final"]["test_accuracy"] <= 0.85
    warning = "is no better than answering 0 for every image, which gives 0.8500"
    assert f"warning: test_accuracy {summary['final']['test_accuracy']:.4f} {warning}" in answer.stdout
    assert warning in (tmp_path / "run" / "report.html").read_text()


def test_the_winner_is_trained_on_the_validation_part_of_ones_own_too(photos: Path) -> None:
    splits = ImageFolder(path=str(photos), height=20, width=20).load()
    both = sorted(image.tobytes() for part in (splits.train, splits.validation) for image in part.images)
    assert sorted(image.tobytes() for image in splits.whole_training.images) == both
    assert len(both) == 27

"""What a report tells of the winner's test: intervals, classes, confusions, calibration, and what is refused."""

import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image
from scipy.stats import binomtest

from nasrun.config.compose import compose_config, task_config
from nasrun.core.options import ConfigError
from nasrun.reports.tested import WinnerTest, read_tested, wilson
from nasrun.reports.tested_plots import draw_test
from nasrun.runner.run import start
from nasrun.storage.predictions import NAME, WRONG, Predictions, read_predictions
from tests.reports.browser import CONTRAST, OVERFLOW, keep_screenshot, needs_chromium, opened

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ROOT = Path(__file__).resolve().parents[2]
SHORT = "search_space=sequential_cnn search_space.max_depth=3 search_space.filters=[4,8] recipe=plain trials=2"
SHORT += " strategy=random evaluator.epochs=1 evaluator.final_epochs=1 dataset.train_samples=200 hardware=cpu"
SHORT += " hardware.threads=1 output.console=none"


def predictions(count: int = 400, classes: int = 3) -> Predictions:
    """Answers of a made-up network that is right about two times in three."""
    rng = np.random.default_rng(3)
    labels = rng.integers(0, classes, count)
    logits = rng.normal(size=(count, classes)) + 1.5 * np.eye(classes)[labels]
    images = rng.integers(0, 256, (count, 1, 4, 4), dtype=np.uint8)
    return Predictions.of(logits, labels, images, tuple("abcdefgh"[:classes]))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("tested") / "run"
    start(task_config(compose_config(SHORT.split())), directory, unique=False)
    return directory


@pytest.mark.parametrize(("right", "count"), [(0, 20), (20, 20), (1, 3), (871, 1000), (9_123, 10_000)])
def test_intervals_are_wilsons(right: int, count: int) -> None:
    expected = binomtest(right, count).proportion_ci(method="wilson")
    assert wilson(right, count) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_counts_add_up() -> None:
    found = predictions()
    tested = WinnerTest(found)
    assert tested.confusion.sum() == tested.images == 400
    assert tested.right == (found.labels == found.answers).sum()
    for place, one in enumerate(tested.classes):
        own = found.labels == place
        assert (one.images, one.right) == (own.sum(), (found.answers[own] == place).sum())
        wrong = found.answers[own][found.answers[own] != place]
        assert one.taken_for == "abc"[np.bincount(wrong).argmax()]


def test_the_calibration_error_is_a_mean_of_gaps() -> None:
    found = predictions()
    right, total = found.answers == found.labels, 0.0
    for low in np.arange(15) / 15:
        inside = (found.confidence >= low) & (found.confidence < low + 1 / 15)
        if inside.any():
            total += inside.sum() * abs(right[inside].mean() - found.confidence[inside].mean())
    assert WinnerTest(found).calibration_error == pytest.approx(total / 400, abs=1e-6)
    assert total / 400 > 0.01


def test_the_most_confident_mistakes_come_first() -> None:
    found = predictions()
    wrong = np.flatnonzero(found.answers != found.labels)
    assert len(found.wrong) == WRONG < len(wrong)
    assert (np.diff(found.confidence[found.wrong]) <= 0).all()
    assert found.confidence[found.wrong].min() >= np.delete(found.confidence[wrong], np.isin(wrong, found.wrong)).max()


def test_a_network_without_a_mistake_has_no_picture_of_any() -> None:
    labels = np.arange(6) % 2
    found = Predictions.of(9.0 * np.eye(2)[labels], labels, np.zeros((6, 3, 4, 4), np.uint8), ("a", "b"))
    assert set(draw_test(WinnerTest(found))) == {"test_confusion"}
    assert [one.taken_for for one in WinnerTest(found).classes] == [None, None]
    assert set(draw_test(WinnerTest(predictions(classes=8)))) == {"test_confusion", "test_mistakes"}


def test_a_class_without_images_has_no_accuracy(tmp_path: Path) -> None:
    labels = np.zeros(4, dtype=np.int64)
    found = Predictions.of(np.eye(3)[[0, 0, 1, 2]], labels, np.zeros((4, 1, 4, 4), np.uint8), ("a", "b", "c"))
    rows = list(WinnerTest(found).class_rows())
    assert rows[2] == ["b", 0, 0, None, None, None, None]
    found.save(tmp_path)
    assert read_predictions(tmp_path) is not None


def test_a_run_leaves_what_its_numbers_follow_from(run: Path) -> None:
    summary = json.loads((run / "summary.json").read_text())
    test = summary["test"]
    assert test["right"] / test["images"] == summary["final"]["test_accuracy"]
    low, high = test["interval"]
    assert low < summary["final"]["test_accuracy"] < high
    rows = list(csv.DictReader((run / "test_classes.csv").open()))
    assert sum(int(row["right"]) for row in rows) == test["right"]
    confusion = list(csv.reader((run / "test_confusion.csv").open()))
    assert confusion[0][1:] == [row["class"] for row in rows]
    assert sum(int(confusion[place][place]) for place in range(1, 11)) == test["right"]
    assert {"test_confusion.png", "test_mistakes.png"} <= {path.name for path in (run / "plots").iterdir()}
    page = (run / "report.html").read_text()
    assert "<h2>Test</h2>" in page
    assert 'id="test_confusion"' in page
    assert 0 < summary["choice"]["probability"] <= 1
    assert summary["choice"]["noise_from"] == "validation images"


def test_a_report_made_again_is_the_same(run: Path, tmp_path: Path, nasrun_inprocess: Callable) -> None:
    again = tmp_path / "again"
    shutil.copytree(run, again)
    for name in ("test_classes.csv", "test_confusion.csv"):
        (again / name).unlink()
    assert nasrun_inprocess("report again").returncode == 0
    for name in ("test_classes.csv", "test_confusion.csv", "summary.json"):
        assert (again / name).read_bytes() == (run / name).read_bytes()


@pytest.mark.parametrize("how", ["cut", "labels", "images", "classes"])
def test_damaged_answers_are_refused_in_one_line(how: str, tmp_path: Path) -> None:
    found = predictions(20)
    if how == "labels":
        found.labels[3] = 7
    if how == "images":
        found = Predictions(**{**vars(found), "images": found.images[:1]})
    if how == "classes":
        found = Predictions(**{**vars(found), "classes": ("a",)})
    found.save(tmp_path / "best")
    path = tmp_path / "best" / NAME
    if how == "cut":
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ConfigError, match="damaged") as error:
        read_tested(tmp_path)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)


def test_names_of_classes_are_no_markup(run: Path, tmp_path: Path, nasrun_inprocess: Callable) -> None:
    again = tmp_path / "again"
    shutil.copytree(run, again)
    found = read_predictions(again / "best")
    assert found is not None
    names = ("<b>bold</b>", "$x$", "=1+1", "_a", "b|c", "d\ne", *found.classes[6:])
    Predictions(**{**vars(found), "classes": names}).save(again / "best")
    assert nasrun_inprocess("report again").returncode == 0
    page = (again / "report.html").read_text()
    assert "&lt;b&gt;bold" in page
    assert "<b>" not in page
    assert "'=1+1" in (again / "test_classes.csv").read_text()


@needs_chromium
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_the_new_section_fits_and_can_be_read(browser: "Browser", run: Path, width: int, scheme: str) -> None:
    page = opened(browser, run / "report.html", width, color_scheme=scheme)
    assert page.evaluate(OVERFLOW) <= 0
    assert page.evaluate(CONTRAST) >= 4.5
    page.locator("figure#test_confusion").scroll_into_view_if_needed()
    keep_screenshot(page, f"report_test_{width}_{scheme}")


@needs_chromium
@pytest.mark.slow
def test_the_pictures_of_the_docs_are_made_of_a_run(run: Path, tmp_path: Path) -> None:
    words = [sys.executable, ROOT / "scripts" / "make_pictures.py", run, tmp_path / "made"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    made = {path.name: Image.open(path) for path in (tmp_path / "made").iterdir()}
    shown = {
        path.name for path in (ROOT / "docs" / "pictures").glob("*.png") if path.name.startswith(("report", "model"))
    }
    assert set(made) == shown
    assert all(picture.width == (390 if "narrow" in name else 1280) for name, picture in made.items())
    assert all(len(picture.getcolors() or []) > 10 for picture in made.values())


def test_the_card_of_an_export_tells_of_the_test(run: Path, tmp_path: Path, nasrun_inprocess: Callable) -> None:
    assert nasrun_inprocess(f"export {run} --format safetensors --no-data --out out").returncode == 0
    card = (tmp_path / "out" / "MODEL_CARD.md").read_text()
    tested = read_tested(run)
    assert tested is not None
    assert f"95 % interval: {tested.interval} ({tested.right:,} of 2,000)" in card
    assert f"expected calibration error: {tested.calibration_error:.4f}" in card
    assert all(f"| {name} | 200 |" in card for name in tested.predictions.classes)
    for name in ("test_confusion.png", "test_mistakes.png", "test_confusion.csv", "test_classes.csv"):
        assert name in card
        assert (tmp_path / "out" / name).is_file()

"""Predictions for the user's own image files: the same from a run and from its export, and what is said of bad ones."""

import csv
import io
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nasrun.cli.predict import USAGE
from nasrun.datasets.fashion_mnist_mini import FashionMnistMini
from nasrun.datasets.image_files import ImageReader
from nasrun.datasets.image_folder import ImageFolder
from nasrun.export.network import load_network
from tests.cli.refusals import check_refused
from tests.support import made_run

QUIET = ("output.plots=false", "output.console=none", "hardware=cpu", "hardware.threads=1", "hardware.precision=fp32")
SHORT = ("trials=1", "strategy=random", "search_space=mlp", "evaluator.epochs=1", "evaluator.final_epochs=1", *QUIET)

MISTAKES = [
    (
        "predict",
        f"the following arguments are required: DIR, IMAGE_OR_FOLDER; usage: {USAGE}",
    ),
    (
        "predict run",
        f"the following arguments are required: IMAGE_OR_FOLDER; usage: {USAGE}",
    ),
    ("predict gone 0.png", f"gone: no such directory; usage: {USAGE}"),
    ("predict . 0.png", ".: neither a run directory nor an export (it has no export.json)"),
    ("predict run 0.png --top 0", "--top 0: must be at least 1"),
    ("predict run 0.png --jsn", "unrecognized arguments: --jsn"),
    ("predict run bad.png", "bad.png: cannot be read as an image (of no known kind)"),
    ("predict run gone.png", "gone.png: no such file"),
    ("predict run run/.hydra", "run/.hydra: has no images; known types: "),
    ("predict run 0.png --csv gone/a.csv", "--csv gone/a.csv: expected a file in an existing folder"),
    ("predict run 0.png --csv run", "--csv run: expected a file in an existing folder"),
    ("predict damaged 0.png", "damaged/export.json: cannot be used (JSONDecodeError: "),
    ("predict lacking 0.png", "lacking/export.json: cannot be used (KeyError: 'task')"),
    ("predict weightless 0.png", "weightless: has neither model.safetensors nor model.onnx"),
    ("predict swapped 0.png", "swapped/model.safetensors: cannot be used ("),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run, its export, images of the test set as files, files that are no images, and exports that are damaged."""
    folder = tmp_path_factory.mktemp("predict")
    made_run(folder / "run", *SHORT, "dataset.train_samples=1000")
    for number, image in enumerate(FashionMnistMini().load().test.images[:20]):
        Image.fromarray(image[0]).save(folder / f"{number}.png")
    (folder / "bad.png").write_text("no picture")
    info = {"task": {"channels": 1, "height": 28, "width": 28, "outputs": 10, "name": "x"}, "classes": ["a"] * 10}
    info |= {"resize": "crop", "search_space": {"_target_": "nasrun.spaces.mlp.space.Mlp"}, "genome": "8-8"}
    for name, text in (
        ("damaged", "{"),
        ("lacking", "{}"),
        ("weightless", json.dumps(info)),
        ("swapped", json.dumps(info)),
    ):
        (folder / name).mkdir()
        (folder / name / "export.json").write_text(text)
    (folder / "swapped" / "model.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}      ")
    return folder


def test_a_run_and_its_exports_give_the_same_answers(
    folder: Path, nasrun: Callable, nasrun_inprocess: Callable, tmp_path: Path
) -> None:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    assert nasrun_inprocess("export run --format onnx").returncode == 0
    assert nasrun_inprocess("export run --format safetensors --out weights").returncode == 0
    files = [f"{number}.png" for number in range(20)]
    splits = FashionMnistMini().load()
    model = load_network(tmp_path / "run", None).model
    with torch.inference_mode():
        expected = model(torch.from_numpy(splits.test.images[:20])).softmax(1).numpy()
    for source in ("run", "run/export", "weights"):
        answer = nasrun_inprocess(f"predict {source} {' '.join(files)} --json")
        assert answer.returncode == 0, answer.stderr
        found = json.loads(answer.stdout)
        assert [entry["file"] for entry in found] == files
        for entry, row in zip(found, expected, strict=True):
            assert entry["class"] == splits.classes[row.argmax()]
            shares = [entry["probabilities"][name] for name in splits.classes]
            assert shares == pytest.approx(row.tolist(), abs=1e-4)
            assert sum(shares) == pytest.approx(1)
            assert entry["probability"] == max(shares)
    lines = nasrun("predict weights 0.png 1.png --top 2").stdout.splitlines()
    assert len(lines) == 2
    assert re.fullmatch(r"0\.png  .+ \d+\.\d %  .+ \d+\.\d %", lines[0])


def test_bad_files_are_named_and_the_others_answered(
    folder: Path, nasrun_inprocess: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    answer = nasrun_inprocess("predict run 0.png bad.png gone.png 1.png")
    assert answer.returncode == 2
    assert [line.split()[0] for line in answer.stdout.splitlines()] == ["0.png", "1.png"]
    assert [line.split(": ")[1] for line in answer.stderr.splitlines()] == ["bad.png", "gone.png"]


@pytest.fixture
def album(folder: Path) -> Path:
    """A folder of images and others, some of them in folders below."""
    album = folder / "album"
    if not album.is_dir():
        (album / "below" / "deep").mkdir(parents=True)
        (album / ".hidden").mkdir()
        for number, place in enumerate(
            ("a.png", "below/b.PNG", "below/deep/c.png", "=d.png", ".e.png", ".hidden/f.png")
        ):
            shutil.copy(folder / f"{number}.png", album / place)
        (album / "cut.png").write_bytes((folder / "0.png").read_bytes()[:100])
        (album / "below" / "fake.jpg").write_text("no picture")
        (album / "notes.txt").write_text("x")
        (album / "below" / "README").write_text("x")
    return album


FOUND = ["album/=d.png", "album/a.png", "album/below/b.PNG", "album/below/deep/c.png"]
SKIPPED = (
    "nasrun: 2 of 6 images skipped: album/below/fake.jpg (cannot be read as an image (of no known kind)), "
    "album/cut.png (cannot be read as an image (image file is truncated))"
)


def test_all_images_of_a_folder_are_answered_and_the_others_counted(
    album: Path, folder: Path, nasrun_inprocess: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    answer = nasrun_inprocess("predict run album")
    assert answer.returncode == 0, answer.stderr
    assert [line.split()[0] for line in answer.stdout.splitlines()] == FOUND
    assert answer.stderr.splitlines() == ["nasrun: album: ignored: 2 hidden, 1 .txt, 1 without an ending", SKIPPED]
    alone = nasrun_inprocess("predict run album/a.png").stdout.split(maxsplit=1)[1]
    assert answer.stdout.splitlines()[1].split(maxsplit=1)[1] == alone.strip("\n")
    # Files that are named must be there; those of folders need not.
    mixed = nasrun_inprocess("predict run 5.png bad.png album gone.png 6.png")
    assert mixed.returncode == 2
    assert [line.split()[0] for line in mixed.stdout.splitlines()] == ["5.png", "6.png", *FOUND]
    assert [line.split(":")[1].strip() for line in mixed.stderr.splitlines()[1:3]] == ["bad.png", "gone.png"]
    assert mixed.stderr.splitlines()[3] == SKIPPED


def test_a_table_of_a_folder(
    album: Path, folder: Path, nasrun_inprocess: Callable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(folder)
    answer = nasrun_inprocess(f"predict run album 7.png --csv {tmp_path / 'table.csv'}")
    assert answer.returncode == 0, answer.stderr
    assert re.fullmatch(rf"7 rows written to {re.escape(str(tmp_path))}/table.csv: \d [^\n]+\n", answer.stdout)
    with (tmp_path / "table.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    classes = FashionMnistMini().load().classes
    assert list(rows[0]) == ["file", "class", "probability", *(f"probability_{name}" for name in classes), "error"]
    assert [row["file"] for row in rows] == [
        "7.png", "album/=d.png", "album/a.png", "album/below/b.PNG", "album/below/deep/c.png", "album/below/fake.jpg",
        "album/cut.png",
    ]  # fmt: skip
    expected = json.loads(nasrun_inprocess("predict run 7.png album --json").stdout)
    for row, found in zip(rows, expected, strict=False):
        assert (row["class"], float(row["probability"]), row["error"]) == (found["class"], found["probability"], "")
        assert {name: float(row[f"probability_{name}"]) for name in classes} == found["probabilities"]
    assert all(row["class"] == "" and "cannot be read as an image" in row["error"] for row in rows[5:])
    monkeypatch.chdir(album)
    both = nasrun_inprocess(f"predict ../run =d.png --csv {tmp_path / 'one.csv'} --json")
    assert [entry["file"] for entry in json.loads(both.stdout)] == ["=d.png"]
    assert (tmp_path / "one.csv").read_text().splitlines()[1].startswith("'=d.png,"), "no formula"


def test_more_images_than_are_in_memory_at_a_time(
    folder: Path, nasrun_inprocess: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    files = [f"{number}.png" for number in range(20)]
    whole = nasrun_inprocess(f"predict run {' '.join(files)} --json").stdout
    monkeypatch.setattr("nasrun.cli.predict.BATCH", 3)
    parts = nasrun_inprocess(f"predict run {' '.join([*files[:7], 'bad.png', *files[7:]])} --json").stdout
    for one, other in zip(json.loads(whole), json.loads(parts), strict=True):
        assert (one["file"], one["class"]) == (other["file"], other["class"])
        assert one["probabilities"] == pytest.approx(other["probabilities"], abs=1e-6)


def test_a_folder_of_which_nothing_can_be_read(
    nasrun_inprocess: Callable, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "spoilt").mkdir()
    (tmp_path / "spoilt" / "a.png").write_text("no picture")
    answer = nasrun_inprocess(f"predict {folder / 'run'} spoilt")
    assert answer.returncode == 2
    said = "nasrun: 1 of 1 image skipped: spoilt/a.png (cannot be read as an image (of no known kind))\n"
    assert answer.stderr == said


def test_links_in_a_folder_are_followed_as_in_a_data_set(
    folder: Path, nasrun_inprocess: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in ("pictures", "linked"):
        (tmp_path / place).mkdir()
    shutil.copy(folder / "3.png", tmp_path / "pictures" / "a.png")
    (tmp_path / "linked" / "b").symlink_to(tmp_path / "pictures")
    (tmp_path / "linked" / "again").symlink_to(tmp_path / "linked")
    monkeypatch.chdir(tmp_path)
    answer = nasrun_inprocess(f"predict {folder / 'run'} linked")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert [line.split()[0] for line in answer.stdout.splitlines()] == ["linked/b/a.png"]


def test_files_are_read_as_those_of_the_data_set(
    tmp_path: Path, nasrun_inprocess: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    for name, low in (("dark", 0), ("light", 128)):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(30):
            pixels = rng.integers(low, low + 128, (40, 24, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{number}.png")
    words = ("dataset=image_folder", f"dataset.path={tmp_path / 'photos'}", "dataset.height=12", "dataset.width=8")
    words += ("dataset.resize=pad", "evaluator.batch_size=8", "evaluator.final_epochs=4")
    made_run(tmp_path / "run", *SHORT, *words)
    assert nasrun_inprocess("export run --format safetensors").returncode == 0
    given = []

    def remember(self: ImageReader, path: Path) -> np.ndarray:
        given.append(read(self, path))
        return given[-1]

    read = ImageReader.read
    monkeypatch.setattr(ImageReader, "read", remember)
    answer = nasrun_inprocess("predict run/export photos/dark/0.png photos/light/0.png")
    assert answer.returncode == 0, answer.stderr
    monkeypatch.undo()
    raw = ImageFolder(path=str(tmp_path / "photos"), height=12, width=8, resize="pad").read()
    trained = {image.tobytes() for part in (raw.training, raw.test) for image in part.images}
    assert len(given) == 2
    assert all(image.tobytes() in trained for image in given)
    assert [line.split()[1] for line in answer.stdout.splitlines()] == ["dark", "light"]


def test_an_export_cannot_name_code_to_run(
    folder: Path, nasrun_inprocess: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = json.loads((folder / "weightless" / "export.json").read_text())
    info["search_space"] = {"_target_": "planted.Space"}
    (tmp_path / "planted.py").write_text("open('ran', 'w')\n")
    (tmp_path / "export.json").write_text(json.dumps(info))
    (tmp_path / "model.safetensors").write_bytes(b"")
    (tmp_path / "model.py").write_text("open('ran', 'w')\n")
    monkeypatch.syspath_prepend(tmp_path)
    answer = nasrun_inprocess(f"predict . {folder / '0.png'}")
    assert answer.returncode == 2
    assert "has no model.onnx, which is needed for your own search space (planted.Space)" in answer.stderr
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("row", MISTAKES, ids=lambda row: row[0])
def test_mistake_gets_one_line(
    row: tuple[str, ...], folder: Path, nasrun_inprocess: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    check_refused(row, folder, nasrun_inprocess)


@pytest.mark.parametrize("names", ["3.png\n\n0.png\nbad.png\n", "3.png\0000.png\0bad.png\0"])
def test_names_may_come_from_standard_input(
    names: str, folder: Path, nasrun_inprocess: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    monkeypatch.setattr("sys.stdin", io.StringIO(names))
    answer = nasrun_inprocess("predict run - --csv found.csv")
    assert answer.returncode == 2
    assert "bad.png: cannot be read as an image" in answer.stderr
    rows = list(csv.DictReader((tmp_path / "found.csv").open()))
    assert [row["file"] for row in rows] == ["3.png", "0.png", "bad.png"]
    assert all(row["class"] for row in rows[:2])
    monkeypatch.setattr("sys.stdin", io.StringIO("\n"))
    refused = nasrun_inprocess("predict run -")
    assert refused.stderr == "nasrun: predict -: no name on standard input; expected one file per line\n"

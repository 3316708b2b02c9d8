"""Runs of earlier versions: their directories, as they were left, are still resumed, reported, exported and compared.

`stored_runs/format_1_*` were written by nasrun 0.1.0 before its modules lay in packages: five trials on the landscape,
and three trained networks. Of the networks the directory holds the best one, and its record of the data is none.
"""

import json
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from nasrun import __version__
from nasrun.checkpoints.archive import load
from nasrun.datasets.fashion_mnist_mini import FashionMnistMini
from nasrun.runner.run import start
from nasrun.storage import journal
from nasrun.storage.run_directory import load_config
from tests.conftest import Answer

STORED = Path(__file__).with_name("stored_runs")
DOUBT = "started by nasrun 0.1.0, which did not record the data: whether they are the same now cannot be checked"

Call = Callable[[str], Answer]


@pytest.fixture
def synthetic(tmp_path: Path) -> Path:
    return Path(shutil.copytree(STORED / "format_1_synthetic", tmp_path / "synthetic"))


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    return Path(shutil.copytree(STORED / "format_1_trained", tmp_path / "trained"))


def begun_anew(name: str, **changes: int) -> None:
    """A run of this version, in `new`, with the config of a stored one."""
    config = load_config(STORED / f"format_1_{name}", [])
    config.update({**changes, "output": {**config.output, "console": "none"}})
    config.hardware.threads = 1
    start(config, Path("new"), unique=False, choices={"strategy": "of a stored run"})


def test_they_are_what_an_old_version_wrote() -> None:
    for folder in STORED.iterdir():
        header = journal.read(folder / journal.NAME)[0]
        assert (header["format"], header["nasrun"]) == (1, "0.1.0")
        assert not {"data", "paths"} & set(header)
        assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 200_000
        for path in folder.rglob("*.*"):
            if path.suffix in (".json", ".jsonl", ".yaml", ".csv", ".txt"):
                text = path.read_text()
                assert not any(word in text for word in ("/home", "/root", "/tmp", "/work", "hydra.run.dir"))


def test_a_search_goes_on(synthetic: Path, nasrun_inprocess: Call) -> None:
    """As it would have in the old version: the same proposals and values as a run of this one."""
    answer = nasrun_inprocess("resume synthetic trials=9 output.console=plain")
    assert answer.returncode == 0, answer.stderr
    assert "recorded nothing" not in answer.stdout, "no data were read"
    begun_anew("synthetic", trials=9)
    assert (synthetic / "measurements.csv").read_text() == Path("new/measurements.csv").read_text()
    answer = nasrun_inprocess("resume synthetic dataset.path=x")
    assert "dataset.path: no such key in this run" in answer.stderr


def test_networks_are_trained_on(trained: Path, nasrun_inprocess: Call) -> None:
    answer = nasrun_inprocess("resume trained trials=4 output.console=plain")
    assert answer.returncode == 0, answer.stderr
    assert DOUBT in answer.stdout.splitlines()
    assert [event["event"] for event in journal.read(trained / journal.NAME)].count("tell") == 4
    assert len((trained / "trials.csv").read_text().splitlines()) == 5


def test_tables_and_page_are_written_again(trained: Path, nasrun_inprocess: Call) -> None:
    names = ("trials.csv", "measurements.csv", "history.csv", "genomes.txt", "summary.json", "best.json")
    before = {name: (trained / name).read_bytes() for name in names}
    for name in names:
        (trained / name).unlink()
    assert nasrun_inprocess("report trained").returncode == 0
    assert {name: (trained / name).read_bytes() for name in names} == before
    assert (trained / "report.html").is_file()


def test_networks_are_exported_and_predict(trained: Path, nasrun_inprocess: Call) -> None:
    answer = nasrun_inprocess("export trained --format safetensors")
    assert answer.returncode == 0
    assert answer.stderr == f"nasrun: {DOUBT}\n"
    assert "same class for 2,000 of 2,000 test images" in answer.stdout
    Image.fromarray(FashionMnistMini().load().test.images[0, 0]).save("one.png")
    found = [nasrun_inprocess(f"predict {source} one.png") for source in ("trained", "trained/export")]
    assert [answer.returncode for answer in found] == [0, 0]
    assert found[0].stdout == found[1].stdout
    assert found[0].stderr == f"nasrun: {DOUBT}\n"
    answer = nasrun_inprocess("export trained --no-data --format safetensors")
    assert "of 256 random images" in answer.stdout
    answer = nasrun_inprocess("export trained dataset.root=x")
    assert answer.returncode == 2
    assert "dataset.root: cannot be changed here" in answer.stderr


def test_an_archive_of_one_loads_alone(tmp_path: Path) -> None:
    model, info = load(shutil.copy(STORED / "format_1_trained/checkpoints/1-0.zip", tmp_path / "alone.zip"))
    splits = FashionMnistMini().load()
    with torch.inference_mode():
        outputs = model(info.inputs(torch.from_numpy(splits.validation.images)))
    accuracy = float((outputs.argmax(1).numpy() == splits.validation.labels).mean())
    assert accuracy == pytest.approx(info.metrics["val_accuracy"], abs=0.01)


def test_compared_with_a_new_run_paths_and_options_count(trained: Path, nasrun_inprocess: Call, tmp_path: Path) -> None:
    begun_anew("trained", trials=1, seed=1)
    answer = nasrun_inprocess("compare trained new")
    assert answer.returncode == 0, answer.stderr
    told = "did not record the data: only path and options show that they are those of the others"
    assert f"nasrun: trained: {told}" in answer.stderr.splitlines()
    alone = nasrun_inprocess("compare new")
    assert "recorded nothing" not in alone.stderr


@pytest.mark.parametrize(
    "command",
    ["resume synthetic", "report synthetic", "export synthetic", "predict synthetic x.png"],
)
def test_a_newer_journal_is_refused(command: str, synthetic: Path, nasrun_inprocess: Call) -> None:
    written(synthetic, journal.FORMAT + 1)
    before = {path: path.read_bytes() for path in synthetic.rglob("*") if path.is_file()}
    answer = nasrun_inprocess(command)
    assert answer.returncode == 2
    assert answer.stderr == (
        f"nasrun: synthetic/journal.jsonl: journal format {journal.FORMAT + 1}, of nasrun 9.0; "
        f"this version, {__version__}, reads formats up to {journal.FORMAT}: update nasrun\n"
    )
    assert {path: path.read_bytes() for path in synthetic.rglob("*") if path.is_file() and path.name != ".lock"} == {
        path: content for path, content in before.items() if path.name != ".lock"
    }


def test_a_newer_journal_is_left_out_of_comparisons_and_not_salvaged(
    synthetic: Path, nasrun_inprocess: Call, tmp_path: Path
) -> None:
    shutil.copytree(synthetic, tmp_path / "old")
    written(synthetic, 99)
    answer = nasrun_inprocess("compare old synthetic")
    assert answer.returncode == 0, answer.stderr
    assert "left out synthetic: cannot be read (synthetic/journal.jsonl: journal format 99, of nasrun 9.0;" in (
        answer.stderr
    )
    path = synthetic / journal.NAME
    path.write_bytes(path.read_bytes().replace(b'"tell"', b'"tall"', 1))
    answer = nasrun_inprocess("resume --salvage synthetic")
    assert answer.returncode == 2
    assert "journal format 99" in answer.stderr
    assert not list(synthetic.glob("journal.damaged*"))


def written(directory: Path, number: int) -> None:
    """Give a journal another format number, and the version that would write it."""
    path = directory / journal.NAME
    first, rest = path.read_bytes().split(b"\n", 1)
    header = {**json.loads(first), "format": number, "nasrun": "9.0"}
    header.pop("crc")
    line = journal.line_of(header)
    assert zlib.crc32(line.rpartition(b',"crc":')[0]) == int(line.rpartition(b'"crc":')[2][:-2])
    path.write_bytes(line + rest)

"""Exports that are refused, fail or leave something out, and their messages."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from nasrun.datasets.fashion_mnist_mini import FashionMnistMini
from nasrun.export.formats import WRITERS
from tests.cli.refusals import check_refused
from tests.export.runs import SHORT, SPACES
from tests.support import made_run

MISTAKES = [
    ("export", "the following arguments are required: DIR; usage: nasrun export DIR"),
    ("export gone", "gone: no such directory; usage: nasrun export DIR"),
    ("export .", ".: holds no run (it has no journal.jsonl)"),
    ("export run --format tflite", "--format tflite: unknown; known: onnx, pt2, safetensors, python, all"),
    ("export run --trial 7", "trial 7: no such trial; weights exist for trials"),
    ("export run --trial x", "argument --trial: invalid int value: 'x'"),
    ("export run format=onnx", "format: cannot be changed here"),
    ("export run --out run/trials.csv", "run/trials.csv: cannot be written to"),
    ("export table", "only runs that train networks leave weights (evaluator=train)"),
]


def test_an_export_that_does_not_agree_is_an_error(
    run: Path, nasrun_inprocess: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(network: Any, folder: Path) -> Any:
        (folder / "model.onnx").write_text("wrong")
        return lambda images: -network.model(images)

    monkeypatch.setitem(WRITERS, "onnx", ("model.onnx", wrong))
    answer = nasrun_inprocess(f"export {run} --format onnx --out out")
    assert answer.returncode == 1
    assert re.fullmatch(
        r"nasrun: model\.onnx: does not agree with the network on the test images \([^\n]+\)\n", answer.stderr
    )
    assert not list(Path("out").glob("model.*"))


@pytest.fixture(scope="module")
def folder(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the run, with one that has no weights."""
    made_run(run.parent / "table", "evaluator=synthetic", "dataset=synthetic", "trials=3", "output.plots=false")
    return run.parent


@pytest.mark.parametrize("row", MISTAKES, ids=lambda row: row[0])
def test_mistake_gets_one_line(
    row: tuple[str, ...], folder: Path, nasrun_inprocess: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    check_refused(row, folder, nasrun_inprocess)


def test_unfinished_run_says_what_to_do(tmp_path: Path, nasrun_inprocess: Callable) -> None:
    made_run(tmp_path / "run", *SHORT, *SPACES["sequential_cnn"], "output.keep=all")
    path = tmp_path / "run" / "journal.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-2]))
    answer = nasrun_inprocess("export run")
    assert answer.returncode == 2
    assert (
        "the run is not finished; continue with: nasrun resume run; --trial exports a trial: trials 0, 1"
        in answer.stderr
    )


def test_missing_extra_leaves_one_format_out(
    run: Path, nasrun_inprocess: Callable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("nasrun.hardware.onnx_program.find_spec", lambda name: None)
    answer = nasrun_inprocess(f"export {run} --out all")
    assert answer.returncode == 0
    assert answer.stderr.startswith("nasrun: model.onnx left out: needs onnx and onnxscript and onnxruntime; install")
    assert not (tmp_path / "all" / "model.onnx").exists()
    assert "| model.onnx | left out: needs onnx" in (tmp_path / "all" / "MODEL_CARD.md").read_text()
    alone = nasrun_inprocess(f"export {run} --format onnx --out alone")
    assert alone.returncode == 2
    assert "install nasrun[export]" in alone.stderr


def blocked(folder: Path, modules: tuple[str, ...], *words: str) -> "subprocess.CompletedProcess[str]":
    """The command in a Python without some modules."""
    missing = ", ".join(f"{name}=None" for name in modules)
    code = f"import sys; sys.modules.update({missing}); from nasrun.cli.main import main; sys.exit(main())"
    return subprocess.run([sys.executable, "-c", code, *words], cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("modules", "words"),
    [
        (("pygmo",), ("strategy=pso",)),
        pytest.param(
            ("mlflow", "sqlalchemy", "alembic"), ("strategy=random", "tracker=mlflow"), marks=pytest.mark.slow
        ),
    ],
    ids=lambda value: value[0],
)
def test_neither_the_strategy_nor_the_tracker_of_a_run_is_needed(
    modules: tuple[str, ...], words: tuple[str, ...], tmp_path: Path
) -> None:
    others = [word for word in SHORT if not word.startswith("strategy")]
    made_run(tmp_path / "run", *others, "search_space=mlp", *words)
    images = FashionMnistMini().load().test.images[0, 0]
    Image.fromarray(images).save(tmp_path / "one.png")
    for command in (("report", "run"), ("export", "run", "--format", "safetensors"), ("predict", "run", "one.png")):
        done = blocked(tmp_path, modules, *command)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
    done = blocked(tmp_path, modules, "resume", "run", "trials=4")
    assert done.returncode == 2
    assert modules[0] in done.stderr

"""`nasrun export --int8`: a smaller file that answers nearly as well, what it is compared on, and what is refused."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from nasrun.datasets.fashion_mnist_mini import FashionMnistMini
from nasrun.export import int8
from nasrun.export.formats import ONNX, write_onnx
from nasrun.export.network import RunNetwork, load_network, outputs_of
from tests.support import made_run

SHORT = (
    "search_space=staged_cnn",
    "recipe=plain",
    "constraints.parameters=20000",
    "strategy.start=[hswish-cn_r1_k3_s1_c8-bb_r1_k3_s2_c16-bb_r1_k3_s2_c32]",
    "trials=1",
    "strategy=aging_evolution",
    "evaluator.epochs=1",
    "evaluator.final_epochs=2",
    "dataset.train_samples=1000",
    "hardware=cpu",
    "hardware.threads=1",
    "hardware.precision=fp32",
    "output.console=none",
    "output.plots=false",
    "output.keep=all",
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_run(tmp_path_factory.mktemp("int8") / "run", *SHORT)


@pytest.fixture
def network(run: Path, tmp_path: Path) -> RunNetwork:
    found = load_network(run, None)
    write_onnx(found, tmp_path)
    return found


def accuracy(path: Path, images: np.ndarray, labels: np.ndarray) -> float:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return float((session.run(None, {"images": images})[0].argmax(1) == labels).mean())


def test_the_file_is_small_and_what_is_told_of_it_is_so(run: Path, tmp_path: Path, nasrun_inprocess: Callable) -> None:
    answer = nasrun_inprocess(f"export {run} --int8 --format onnx --out out")
    assert (answer.returncode, answer.stderr) == (0, "")
    test, out = FashionMnistMini().load().test, tmp_path / "out"
    found = accuracy(out / int8.INT8, test.images, test.labels)
    fp32 = accuracy(out / ONNX, test.images, test.labels)
    assert abs(found - fp32) <= int8.POINT
    size = (out / int8.INT8).stat().st_size
    assert size < 0.6 * (out / ONNX).stat().st_size
    assert f"test accuracy {found:.4f}, in fp32 {fp32:.4f}" in answer.stdout
    card = (out / "MODEL_CARD.md").read_text()
    assert re.search(rf"\| {int8.INT8} \| {size:,} \| {found:.4f} \| [\d.]+ \| [\d.]+ \|", card)
    weights = onnx.load(str(out / int8.INT8)).graph.initializer
    assert sum(one.data_type == onnx.TensorProto.INT8 and len(one.dims) == 4 for one in weights) >= 5


def test_the_same_run_gives_the_same_file(network: RunNetwork, tmp_path: Path) -> None:
    splits = FashionMnistMini().load()
    expected = outputs_of(network.model, splits.test.images)
    first = int8.quantise(network, splits, tmp_path, expected)
    content = first.path.read_bytes()
    again = int8.quantise(network, splits, tmp_path, expected)
    assert again == first
    assert again.path.read_bytes() == content


def test_remedies_are_tried_in_turn_and_the_best_is_kept(
    network: RunNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(int8, "POINT", -1.0)  # as if every loss were too much
    splits = FashionMnistMini().load()
    found = int8.quantise(network, splits, tmp_path, outputs_of(network.model, splits.test.images))
    assert capsys.readouterr().out == ""
    assert [words for words, _ in found.tried] == [attempt.words for attempt in int8.ATTEMPTS]
    assert (found.how, min(lost for _, lost in found.tried)) in found.tried
    fp32, kept = found.validation
    assert kept == accuracy(found.path, splits.validation.images, splits.validation.labels)
    assert 100 * (fp32 - kept) == pytest.approx(min(lost for _, lost in found.tried))


def test_the_ends_stay_in_fp32_where_that_is_the_remedy(network: RunNetwork, tmp_path: Path) -> None:
    train = FashionMnistMini().load().train
    kept = {}
    for attempt in int8.ATTEMPTS[:2]:
        graph = onnx.load_from_string(int8.quantised(tmp_path / ONNX, train, attempt)).graph
        kept[attempt.keep_ends] = [one for one in graph.initializer if one.data_type == onnx.TensorProto.INT8]
    assert len(kept[True]) < len(kept[False])


def test_a_trial_is_not_measured_on_the_test_set(run: Path, tmp_path: Path, nasrun_inprocess: Callable) -> None:
    answer = nasrun_inprocess(f"export {run} --trial 0 --int8 --format onnx --out out")
    assert answer.returncode == 0, answer.stderr
    card = (tmp_path / "out" / "MODEL_CARD.md").read_text()
    assert "validation accuracy" in card
    assert "test accuracy" not in card


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("--int8 --no-data", "--int8 --no-data: model.onnx is quantised by the run's training images"),
        ("--int8 --format python", "--int8 --format python: model.onnx is quantised"),
        ("--int8 dataset.root=gone", "dataset.root"),
    ],
)
def test_mistakes_are_answered_in_one_line(words: str, reason: str, run: Path, nasrun_inprocess: Callable) -> None:
    answer = nasrun_inprocess(f"export {run} {words}")
    assert answer.returncode == 2
    assert answer.stderr.startswith("nasrun: ")
    assert reason in answer.stderr
    assert answer.stderr.count("\n") == 1

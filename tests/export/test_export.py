"""Exports of trained networks: every file computes what the run's network does; messages and refusals."""

import json
import re
import runpy
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image

import nasrun as nasrun_package
from nasrun.config.build import build
from nasrun.config.compose import compose_config, task_config
from nasrun.datasets.fashion_mnist_mini import FashionMnistMini
from nasrun.export.network import Deployed, agreement, load_network, measured_again, outputs_of
from nasrun.runner.run import start
from tests.export.runs import SHORT, SPACES
from tests.support import made_run
from tests.training.auto_encoders import smooth

TESTED = ["test_classes.csv", "test_confusion.csv", "test_confusion.png", "test_mistakes.png"]


def assert_nothing_of_this_machine(out: Path) -> None:
    """No file contains the local paths of nasrun or torch."""
    program = zipfile.ZipFile(out / "model.pt2")
    parts = [(out / "model.onnx").read_bytes(), *map(program.read, program.namelist())]
    places = [str(Path(module.__file__ or "").parent).encode() for module in (nasrun_package, torch)]
    assert not [place for place in places if any(place in part for part in parts)]


def test_the_command_writes_files_that_agree_with_the_run(run: Path, nasrun: Callable, tmp_path: Path) -> None:
    answer = nasrun(f"export {run} --out out")
    assert answer.returncode == 0, answer.stderr
    out, test = tmp_path / "out", FashionMnistMini().load().test
    names = ["MODEL_CARD.md", "export.json", "model.onnx", "model.pt2", "model.py", "model.safetensors", *TESTED]
    assert sorted(path.name for path in out.iterdir()) == names
    assert answer.stdout.count("same class for 2,000 of 2,000 test images") == 4
    assert_nothing_of_this_machine(out)
    assert (out / "model.onnx").stat().st_size < (out / "model.safetensors").stat().st_size + 30_000
    recorded = json.loads((run / "best.json").read_text())["final"]["test_accuracy"]
    images = torch.from_numpy(test.images)
    session = onnxruntime.InferenceSession(str(out / "model.onnx"))
    assert [(i.name, i.type, i.shape[1:]) for i in session.get_inputs()] == [("images", "tensor(uint8)", [1, 28, 28])]
    program = torch.export.load(out / "model.pt2").module()
    script = runpy.run_path(str(out / "model.py"))
    with torch.inference_mode():
        found = {
            "onnx": session.run(None, {"images": test.images})[0],
            "pt2": program(images).numpy(),
            "python": script["load"](str(out / "model.safetensors"))(images).numpy(),
        }
        alone = session.run(None, {"images": test.images[:1]})[0], program(images[:1]).numpy()
    for name, outputs in found.items():
        assert (outputs.argmax(1) == test.labels).mean() == pytest.approx(recorded, abs=1e-9), name
    for outputs in alone:
        assert np.allclose(outputs, found["pt2"][:1], atol=1e-4)
    card = (out / "MODEL_CARD.md").read_text()
    assert script["CLASSES"] == FashionMnistMini().load().classes
    best = json.loads((run / "best.json").read_text())
    for fact in (best["genome"], f"{best['metrics']['parameters']:,}", f"nasrun export {run} --out out", "Ankle boot"):
        assert fact in card
    assert re.search(r"\| onnxruntime \| 1 \| \d+ \| [\d.]+ \| [\d.]+ to [\d.]+ \|", card)


def test_model_py_needs_torch_alone(run: Path, nasrun_inprocess: Callable, tmp_path: Path) -> None:
    assert nasrun_inprocess(f"export {run} --format python --out out").returncode == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "MODEL_CARD.md", "export.json", "model.py", "model.safetensors", *TESTED,
    ]  # fmt: skip
    code = (
        "import sys, torch\n"
        "for name in ('nasrun', 'safetensors', 'numpy', 'onnx'): sys.modules[name] = None\n"
        "from model import load\n"
        "print(load()(torch.zeros(2, 1, 28, 28, dtype=torch.uint8)).shape)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path / "out", capture_output=True, text=True)
    assert done.stdout == "torch.Size([2, 10])\n", done.stderr


def test_the_winner_measured_again_is_what_the_run_measured(run: Path) -> None:
    network = load_network(run, None)
    again = measured_again(network, FashionMnistMini(train_samples=200).load())
    assert again["test_accuracy"] == network.metrics["test_accuracy"]
    assert again["test_loss"] == pytest.approx(network.metrics["test_loss"], rel=1e-5)


def test_a_trial_is_exported_without_asking_the_test_set(run: Path, nasrun_inprocess: Callable) -> None:
    answer = nasrun_inprocess(f"export {run} --trial 1 --format safetensors --out trial")
    assert answer.returncode == 0, answer.stderr
    card = Path("trial/MODEL_CARD.md").read_text()
    trial = load_network(run, 1)
    assert trial.genome in card
    assert f"val_accuracy: {trial.metrics['val_accuracy']:.4f} (in the run)" in card
    assert "test accuracy" not in card + answer.stdout
    assert measured_again(trial, FashionMnistMini().load()) == {}


def test_agreement_tells_ties_from_errors() -> None:
    expected = np.array([[1.0, 0.0], [0.5, 0.5 - 1e-7], [0.0, 2.0]])
    assert agreement(expected, expected + 1e-6).complete
    swapped = expected.copy()
    swapped[1] = [0.5 - 1e-7, 0.5]
    tie = agreement(expected, swapped)
    assert (tie.complete, tie["ties"], tie["same_class"]) == (True, 1, 2)
    swapped[0] = [0.4, 0.6]
    assert not agreement(expected, swapped).complete
    assert not agreement(expected, np.full_like(expected, np.nan)).complete
    pictures = np.zeros((2, 1, 4, 4))
    assert agreement(pictures, pictures + 0.01, 50.0).complete
    assert not agreement(pictures, pictures + 0.1, 50.0).complete


def test_regression_gives_values_in_their_own_units(
    tmp_path: Path, nasrun_inprocess: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NASRUN_ALLOW", "tests.training")
    np.save(tmp_path / "picture.npy", smooth())
    config = compose_config(
        [
            *(word for word in SHORT if "train_samples" not in word),
            *(
                "dataset=gap_filling",
                f"dataset.path={tmp_path / 'picture.npy'}",
                "dataset.size=16",
                "dataset.region=40",
            ),
            *("dataset.patches=null", "evaluator.batch_size=16", "hardware.precision=fp32"),
        ]
    )
    config.search_space = {"_target_": "tests.training.auto_encoders.AutoEncoders"}
    start(task_config(config), tmp_path / "run", unique=False)
    answer = nasrun_inprocess("export run")
    assert answer.returncode == 0, answer.stderr
    network = load_network(tmp_path / "run", None)
    splits = build(task_config(config)).dataset.load()
    outputs = outputs_of(network.model, splits.test.images)
    assert splits.test.targets is not None
    assert outputs.shape == splits.test.targets.shape
    script = runpy.run_path(str(tmp_path / "run" / "export" / "model.py"))
    model = script["load"](str(tmp_path / "run" / "export" / "model.safetensors"))
    with torch.inference_mode():
        assert np.allclose(model(torch.from_numpy(splits.test.images)).numpy(), outputs, atol=1e-3)
    spread = np.array(splits.target_std)[None, :, None, None]
    error = ((outputs - splits.test.targets) / spread) ** 2
    weights = np.broadcast_to(splits.test.weights, error.shape)
    assert error[weights == 1].mean() == pytest.approx(network.metrics["test_loss"], rel=1e-3)
    refused = nasrun_inprocess("predict run/export picture.npy")
    assert refused.returncode == 2
    assert "the network is for regression, not classification" in refused.stderr


@pytest.mark.slow
@pytest.mark.parametrize("space", sorted(SPACES))
def test_every_space_in_every_format(space: str, tmp_path: Path, nasrun_inprocess: Callable) -> None:
    made_run(tmp_path / "run", *SHORT, f"search_space={space}", *SPACES[space])
    answer = nasrun_inprocess("export run")
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.count("same class for 2,000 of 2,000 test images") == 4


def test_means_over_mirror_images_are_in_every_file(tmp_path: Path, nasrun_inprocess: Callable) -> None:
    flips = ("evaluator.flip=true", "evaluator.test_flip=true", "output.keep=all")
    words = (*SHORT, "search_space=sequential_cnn", *SPACES["sequential_cnn"], *flips, "hardware.precision=fp32")
    made_run(tmp_path / "run", *words)
    network = load_network(tmp_path / "run", None)
    splits = FashionMnistMini(train_samples=200).load()
    images, labels = splits.test.images, splits.test.labels
    expected = outputs_of(network.model, images)
    # An image and its mirror image have the same mean.
    np.testing.assert_allclose(outputs_of(network.model, images[..., ::-1].copy()), expected, atol=1e-4)
    once = Deployed(network.model.network.network, splits.mean, splits.std).eval()  # type: ignore[arg-type]
    without = outputs_of(once, images)
    assert np.abs(without - expected).max() > 1e-3

    # What the run reports is what the files do; what one pass does is reported beside it.
    metrics = network.metrics
    assert metrics["test_accuracy"] == (expected.argmax(1) == labels).mean()
    assert metrics["test_without_flip_accuracy"] == (without.argmax(1) == labels).mean()
    assert measured_again(network, splits)["test_accuracy"] == metrics["test_accuracy"]
    assert load_network(tmp_path / "run", 1).test_flip

    answer = nasrun_inprocess("export run")
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.count("same class for 2,000 of 2,000") + answer.stdout.count("ties") >= 4
    card = Path("run/export/MODEL_CARD.md").read_text()
    assert "averaged over the image and its mirror image (built into the files)" in card
    flops = network.space.cost(network.space.parse(network.genome), network.task).flops
    assert f"{2 * flops:,} (a multiply-add counts as two; twice, for the image and its mirror image)" in card
    assert "test_without_flip_accuracy" in card

    # The folder of the export answers as the run does.
    Image.fromarray(images[0, 0]).save(tmp_path / "picture.png")
    told = [
        json.loads(nasrun_inprocess(f"predict {where} picture.png --json").stdout) for where in ("run", "run/export")
    ]
    assert told[0] == told[1]
    shares = np.exp(expected[0] - expected[0].max())
    assert told[0][0]["probability"] == pytest.approx(float(shares.max() / shares.sum()), abs=1e-4)

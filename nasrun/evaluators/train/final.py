"""The winner's test of evaluator `train`. torch is imported when it is tested."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from nasrun.checkpoints.winner import save_winner
from nasrun.core import Job, SearchSpace
from nasrun.core.words import counted
from nasrun.datasets import Dataset, Splits
from nasrun.evaluators.train.archives import winner_of
from nasrun.hardware.devices import Runtime
from nasrun.storage.predictions import Predictions
from nasrun.training.settings import TrainSettings

if TYPE_CHECKING:
    import torch

    from nasrun.training.data import DeviceData


class Measured(NamedTuple):
    """What a network comes to on the test set: `metrics`, and its `outputs`, float32 (N, ...)."""

    metrics: dict[str, float]
    outputs: "torch.Tensor"


def measure_test(model: "torch.nn.Module", data: "DeviceData", runtime: Runtime, settings: TrainSettings) -> Measured:
    """What is measured on the test set, as `test_accuracy`; where that is of means over an image and its mirror image,
    what one pass gives stands beside it, as `test_without_flip_accuracy`."""
    import torch

    from nasrun.training.single import measure

    outputs: list[torch.Tensor] = []
    found = measure(model, data, "test", runtime, settings, outputs.append)
    metrics = {f"test_{name}": value for name, value in found.items()}
    if settings.test_flip:
        alone = measure(model, data, "test", runtime, replace(settings, test_flip=False))
        metrics |= {f"test_without_flip_{name}": value for name, value in alone.items()}
    return Measured(metrics, torch.cat(outputs))


def measure_winner(
    job: Job,
    model: "torch.nn.Module",
    data: "DeviceData",
    runtime: Runtime,
    settings: TrainSettings,
    space: SearchSpace,
    dataset: Dataset,
) -> dict[str, float]:
    """What a trained network comes to on the test set; its weights are saved where the job says so, and
    beside them its answers in a classification."""
    import torch

    metrics, outputs = measure_test(model, data, runtime, settings)
    if job.save_to is not None:
        save_winner(Path(job.save_to), winner_of(job, settings, space, dataset), model)
        if dataset.task.kind == "classification":
            predictions_of(outputs, dataset.load()).save(Path(job.save_to).parent)
    if runtime.device == "cuda":
        torch.cuda.synchronize()
    return metrics


def trained_in_words(settings: TrainSettings, epoch: float, data: str) -> str:
    """How long the winner was trained, and on what. `epoch`: the one whose weights were kept."""
    told = f"{counted(settings.epochs, 'epoch')} on {data}"
    if epoch < settings.epochs:
        told = f"{epoch:.0f} of {told}, the best by patience"
    return told if settings.micro_batch is None else f"{told}, {counted(settings.micro_batch, 'image')} at a time"


def predictions_of(outputs: "torch.Tensor", splits: Splits) -> Predictions:
    """The answers for the test set of a classification, from the logits, float (N, classes)."""
    test = splits.test
    return Predictions.of(outputs.cpu().numpy(), test.labels, test.images, splits.classes)

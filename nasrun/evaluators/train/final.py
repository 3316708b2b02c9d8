"""The winner's test of evaluator `train`. torch is imported when it is tested."""

from dataclasses import replace
from typing import TYPE_CHECKING

from nasrun.hardware.devices import Runtime
from nasrun.training.settings import TrainSettings

if TYPE_CHECKING:
    import torch

    from nasrun.training.data import DeviceData


def metrics_of_test(
    model: "torch.nn.Module", data: "DeviceData", runtime: Runtime, settings: TrainSettings
) -> dict[str, float]:
    """What is measured on the test set, as `test_accuracy`; where that is of means over an image and its mirror image,
    what one pass gives stands beside it, as `test_without_flip_accuracy`."""
    from nasrun.training.single import measure

    metrics = {f"test_{name}": value for name, value in measure(model, data, "test", runtime, settings).items()}
    if settings.test_flip:
        alone = measure(model, data, "test", runtime, replace(settings, test_flip=False))
        metrics |= {f"test_without_flip_{name}": value for name, value in alone.items()}
    return metrics

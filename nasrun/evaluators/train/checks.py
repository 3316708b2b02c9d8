"""What evaluator `train` refuses before anything is trained: settings that are not for the task at hand."""

from nasrun.core import SearchSpace
from nasrun.core.options import ConfigError, show
from nasrun.datasets import Dataset
from nasrun.training.settings import FOR_CLASSES, TrainSettings


def check_task(space: SearchSpace, dataset: Dataset, settings: TrainSettings, teacher: str | None) -> None:
    """ConfigError where the networks of the space, or the settings, are not for the task of the data set."""
    name, task = dataset.name, dataset.task
    if task.kind not in space.kinds:
        raise ConfigError(
            f"dataset={name}: is for {task.kind}, but {type(space).__name__} builds networks for "
            f"{' and '.join(space.kinds)} alone; choose another search_space or dataset"
        )
    if task.kind == "regression":
        for key in settings.changed(FOR_CLASSES):
            value, needed = getattr(settings, key), getattr(TrainSettings(), key)
            raise ConfigError(
                f"evaluator.{key}={show(value)}: is for classification; dataset={name} needs {show(needed)}"
            )
        if teacher is not None:
            raise ConfigError(f"evaluator.teacher={teacher}: is for classification; dataset={name} needs null")
    weights = settings.class_weights
    if not isinstance(weights, str) and len(weights) != task.outputs:
        raise ConfigError(
            f"evaluator.class_weights={show(weights)}: {len(weights)} weights; dataset={name} has {task.outputs} "
            "classes, and each needs one"
        )

"""What evaluator `train` refuses before anything is trained: settings that are not for the task at hand."""

from nasrun.core import SearchSpace
from nasrun.core.options import ConfigError, show
from nasrun.datasets import Dataset
from nasrun.training.settings import FOR_CLASSES, SCALED, TrainSettings


def check_scaled(space: SearchSpace, settings: TrainSettings) -> None:
    """ConfigError where a setting that a search multiplies is 0: that is what it would stay."""
    for gene in space.scaled_settings:
        names = [name for name in SCALED[gene] if name != "lr"]  # null is the optimizer's usual rate
        if names and not any(getattr(settings, name) for name in names):
            keys = ", ".join(f"evaluator.{name}" for name in names)
            raise ConfigError(
                f"search_space.recipe={show(list(space.scaled_settings))}: {gene} multiplies {keys}, 0 in this run; "
                f"leave {gene} out, set {'it' if len(names) == 1 else 'one of them'}, or choose recipe=strong"
            )


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

"""`baseline=true`: what can have a known network trained beside its winner."""

from nasrun.core import Evaluator
from nasrun.core.options import ConfigError
from nasrun.datasets import Dataset


def check_baseline(evaluator: Evaluator, dataset: Dataset) -> None:
    """ConfigError where no known network can be trained beside the winner."""
    if not evaluator.trains_on:
        raise ConfigError("baseline=true: needs evaluator=train, which trains networks of any kind")
    kind = dataset.task.kind
    if kind != "classification":
        raise ConfigError(f"baseline=true: no known networks for {kind}, which dataset={dataset.name} is; leave it out")

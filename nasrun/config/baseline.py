"""Validation of `baseline=true`, which trains a known network to compare with the winner."""

from nasrun.core import Evaluator
from nasrun.core.options import ConfigError
from nasrun.datasets import Dataset


def check_baseline(evaluator: Evaluator, dataset: Dataset) -> None:
    """ConfigError if no known network can be trained for this evaluator and task."""
    if not evaluator.trains_on:
        raise ConfigError("baseline=true: needs evaluator=train")
    kind = dataset.task.kind
    if kind != "classification":
        raise ConfigError(f"baseline=true: no known network for {kind} (dataset={dataset.name}); leave it out")

"""Runs on benchmark tables, for comparisons."""

from pathlib import Path

from nasrun.config.compose import compose_config, task_config
from nasrun.runner.run import start

QUIET = ("output.plots=false", "output.console=none")
TABLE = ("search_space=nasbench201", "evaluator=table", *QUIET)
DATASETS = ("cifar10", "cifar100", "imagenet16")
SEEDS = 4


def run(directory: Path, strategy: str, seed: int, *words: str, dataset: str = "cifar10") -> None:
    config = task_config(compose_config([f"strategy={strategy}", f"seed={seed}", f"dataset={dataset}", *words]))
    choices = {"strategy": strategy, "dataset": dataset, "search_space": "nasbench201", "evaluator": "table"}
    start(config, directory, unique=False, choices=choices)

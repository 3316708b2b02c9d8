"""Chooses the executor of a run: the runner's own process, worker processes, a Ray cluster, or SLURM jobs."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from nasrun.config.build import Setup, rebuild
from nasrun.core import Executor
from nasrun.datasets import Splits
from nasrun.hardware.devices import gpus_of_workers
from nasrun.hardware.inline import InlineExecutor
from nasrun.hardware.ray.cluster import RayCluster
from nasrun.hardware.slurm.jobs import SlurmJobs
from nasrun.hardware.worker_messages import Recipe


def make_executor(
    setup: Setup, facts: Mapping[str, Any], directory: Path, say: Callable[[str], None] = lambda text: None
) -> Executor:
    """The executor of a run's jobs. `facts`: what its evaluator decided; `directory`: that of the run, with its
    journal.

    `say`: shows a line to the user. A Ray cluster must be `opened`.
    """
    hardware, on_gpus = setup.hardware, facts.get("runtime", {}).get("device") == "cuda"
    if not hardware.is_remote:
        return InlineExecutor(setup.evaluator, hardware.grace)
    if isinstance(hardware, RayCluster):
        from nasrun.hardware.ray.executor import RayExecutor

        writes = setup.evaluator.saves and (setup.output.keep != "none" or setup.strategy.uses_checkpoints)
        return RayExecutor(
            setup.evaluator,
            Recipe(partial(rebuild, setup.config), facts),
            hardware.workers,
            hardware.resources(on_gpus),
            splits=_sent(setup, hardware),
            directory=directory if writes else None,
            say=say,
            grace=hardware.grace,
        )
    if isinstance(hardware, SlurmJobs):
        from nasrun.hardware.slurm.executor import SlurmExecutor

        made_of = Recipe(partial(rebuild, setup.config), facts)
        return SlurmExecutor(setup.evaluator, made_of, hardware, directory, on_gpus=on_gpus, say=say)
    from nasrun.hardware.processes.executor import ProcessExecutor

    data = setup.memory if setup.memory is not None and setup.memory.descriptor >= 0 else None
    recipe = Recipe(partial(rebuild, setup.config), facts, data)
    gpus = gpus_of_workers(hardware.workers) if on_gpus else None
    return ProcessExecutor(setup.evaluator, recipe, hardware.workers, gpus, grace=hardware.grace)


def _sent(setup: Setup, hardware: RayCluster) -> Splits | None:
    """The data to send to the workers of a cluster; on this machine alone, workers find image files by their path."""
    splits = setup.dataset.loaded
    return splits if splits is None or hardware.address is None else splits.in_memory()

"""Module paths of earlier versions, because run directories and archives name their classes by path.

Journals of format 1 were written by versions with modules in the root of the package. Only this module knows their
paths; `nasrun.storage.stored_config` and `nasrun.spaces.sections` read stored paths through `current_path`.
"""

MOVED_MODULES = {
    "nasrun.evaluators.train": "nasrun.evaluators.train.evaluator",
    "nasrun.hardware.ray_cluster": "nasrun.hardware.ray.cluster",
    "nasrun.spaces.macro_cnn": "nasrun.spaces.macro_cnn.space",
    "nasrun.spaces.micro_cell": "nasrun.spaces.micro_cell.space",
    "nasrun.spaces.mlp": "nasrun.spaces.mlp.space",
    "nasrun.spaces.nasbench101": "nasrun.spaces.nasbench101.space",
    "nasrun.spaces.nasbench201": "nasrun.spaces.nasbench201.space",
    "nasrun.spaces.sequential_cnn": "nasrun.spaces.sequential_cnn.space",
    "nasrun.spaces.training_recipe": "nasrun.spaces.training_recipe.space",
    "nasrun.strategies.asha": "nasrun.strategies.multi_fidelity.asha",
    "nasrun.strategies.asnn": "nasrun.strategies.asnn.strategy",
    "nasrun.strategies.halving": "nasrun.strategies.multi_fidelity.hyperband",
    "nasrun.strategies.predictor": "nasrun.strategies.predictor.strategy",
}
"""Modules with classes that a config may name: the path in format 1, and the current path."""

REMOVED_OPTIONS = {"hardware": ("cuda_graphs",)}
"""Options that a stored config may contain but that no longer exist, by section. `cuda_graphs` affected only the speed,
and never ran on a GPU."""


def current_path(target: str) -> str:
    """The current path of a class recorded by an earlier version; any other path unchanged."""
    module, _, name = target.rpartition(".")
    return f"{MOVED_MODULES.get(module, module)}.{name}" if module else target

"""The teacher of evaluator `train`: the network of a finished run, by its directory. torch is imported to load it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nasrun.checkpoints.winner import Winner, load_winner, winner_of
from nasrun.core import SearchSpace, Task
from nasrun.core.options import ConfigError, check_section, error_line
from nasrun.datasets import Splits
from nasrun.hardware.devices import Runtime
from nasrun.spaces.sections import make_space

if TYPE_CHECKING:
    from nasrun.training.teacher import Teacher


def load_teacher(
    directory: str,
    splits: Splits,
    task: Task,
    space: SearchSpace,
    runtime: Runtime,
    recorded: Mapping[str, Any] | None = None,
) -> "tuple[Teacher, dict[str, Any]]":
    """The network of a finished run as a teacher for networks of a task, and a record of which one it is.

    `space`: that of the networks which learn, which may be the user's own. `recorded`: the record of an interrupted
    run, whose teacher it must be. ConfigError where there is no such network, or it is for another task.
    """
    from nasrun.training.mirrored import MirrorAverage
    from nasrun.training.teacher import Teacher

    try:
        path, about, record = winner_of(directory, recorded)
        _check_task(about, task, splits.classes)
        network = load_winner(path, about, _space(about, space))
    except Exception as error:  # readers raise many kinds on damaged files
        raise ConfigError(f"evaluator.teacher={directory}: {error_line(error, 300)}") from error
    network = MirrorAverage(network) if about.test_flip else network
    return Teacher(network, runtime, (about.mean, about.std), (splits.mean, splits.std)), record


def _check_task(about: Winner, task: Task, classes: tuple[str, ...]) -> None:
    """ValueError where a network is not for the images and classes of a task."""
    theirs, ours = (f"{t.channels} x {t.height} x {t.width} to {t.outputs} classes" for t in (about.task, task))
    if about.task.kind != task.kind or theirs != ours:
        raise ValueError(f"its network is for {about.task.kind}, {theirs}; the data are {ours}")
    if tuple(about.classes) != classes:
        raise ValueError(
            f"its network's classes are {', '.join(about.classes)}; those of the data are {', '.join(classes)}"
        )


def _space(about: Winner, own: SearchSpace) -> SearchSpace:
    """The space of a network: one of nasrun's, or of the class of `own`. ValueError for any other."""
    section = dict(about.section or {})
    target = section.pop("_target_", None)
    kind = type(own)
    if target == f"{kind.__module__}.{kind.__qualname__}" and not target.startswith("nasrun."):
        return kind(**check_section(kind, section, ""))
    return make_space(about.section or {})

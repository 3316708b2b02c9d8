"""From command-line overrides to checked objects: what a run is made of, or one line that says what is wrong.

YAML `_target_` picks classes; the signature of a class is the schema of its YAML (`nasrun.core.options`).
"""

import importlib
import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from nasrun.config.objective import ObjectiveOptions
from nasrun.config.trackers import GROUP as TRACKER
from nasrun.config.trackers import sections_by_name
from nasrun.core import Evaluator, Objective, SearchSpace, SharedEvaluator, Strategy, seeding
from nasrun.core.config_files import GROUPS, conf_dir
from nasrun.core.options import (
    Above,
    AtLeast,
    ConfigError,
    Positive,
    check_section,
    first_line,
    join,
    nearest,
    plain,
    show,
)
from nasrun.datasets import Dataset
from nasrun.evaluators.costs import COSTS, LATENCY, WithCosts
from nasrun.hardware.devices import Hardware
from nasrun.hardware.ray.cluster import RayCluster
from nasrun.hardware.shared_memory import SharedObject
from nasrun.strategies.wrappers import Constrain, Constraints, Deduplicate
from nasrun.trackers import Tracker

T = TypeVar("T")

CONSTRAINT_SAMPLES = 10_000
"""Random architectures of which one must be within the constraints; ten times what `Constrain` turns down in a row."""

FREE = ("vars", "from")
"""What nothing here reads: values that other keys of the config refer to, such as pairs swept together, and the run
that `nasrun.config.from_run` took its architecture from."""


@dataclass(kw_only=True, frozen=True)
class ConstraintOptions:
    """The price that an architecture may have at most; `auto`: the bound that the search space names for itself.

    `latency_ms` is measured by the evaluator (`nasrun.evaluators.costs`), the others are known by formula.
    """

    parameters: Positive | None = None
    flops: Positive | Literal["auto"] | None = "auto"
    latency_ms: Annotated[float, Above(0)] | None = None

    def resolved(self, space: SearchSpace) -> Constraints:
        """The limits as numbers, or None for any."""
        return Constraints(parameters=self.parameters, flops=space.flops_limit if self.flops == "auto" else self.flops)


@dataclass(kw_only=True, frozen=True)
class OutputOptions:
    """What a run shows and keeps. None of it changes the search."""

    console: Literal["auto", "live", "plain", "none"] = "auto"
    keep: Literal["best", "all", "none"] = "best"
    keep_count: Positive = 1
    limit_mb: Annotated[float, Above(0)] = 1000.0
    plots: bool = True


@dataclass(kw_only=True, frozen=True)
class RunOptions:
    """The top-level keys that belong to no group of YAML files."""

    seed: Annotated[int, AtLeast(0)] = 0
    trials: Positive = 24
    max_failures: Positive | None = 10
    deduplicate: Literal["reuse", "resample", "never"] = "reuse"
    resume: bool = False
    dry_run: bool = False
    debug: bool = False


@dataclass(frozen=True)
class Setup:
    """A checked config as objects. Nothing is loaded, trained or written yet."""

    options: RunOptions
    output: OutputOptions
    constraints: Constraints
    objective: Objective
    space: SearchSpace
    dataset: Dataset
    hardware: Hardware
    evaluator: Evaluator
    strategy: Strategy
    config: dict[str, Any] = field(repr=False)
    memory: SharedObject | None = None
    """Where the data lie once they are loaded, if there are several workers."""
    trackers: dict[str, Tracker] = field(default_factory=dict)


def build(config: DictConfig) -> Setup:
    """Check a composed config and make the objects it names; ConfigError, in one line, where it cannot be run."""
    content = plain(config)
    nested = {"objective": ObjectiveOptions, "constraints": ConstraintOptions, "output": OutputOptions}
    for name in content:
        if name not in (*GROUPS, *nested, *FREE) and name not in RunOptions.__dataclass_fields__:
            raise ConfigError(
                f"{name}: no such key; {nearest(name, [*GROUPS, *nested, *FREE, *RunOptions.__dataclass_fields__])}"
            )
    top = {name: value for name, value in content.items() if name in RunOptions.__dataclass_fields__}
    options = RunOptions(**check_section(RunOptions, top, ""))
    section = {name: kind(**check_section(kind, _mapping(content, name), name)) for name, kind in nested.items()}
    hardware = create(content, "hardware", Hardware)
    space = create(content, "search_space", SearchSpace)  # type: ignore[type-abstract]
    dataset = create(content, "dataset", Dataset)  # type: ignore[type-abstract]
    memory = SharedObject() if hardware.workers > 1 and not isinstance(hardware, RayCluster) else None
    if memory is not None:
        dataset.place = memory.put
    evaluator = _evaluator(content, space, dataset, hardware)
    objective = section["objective"].resolved(evaluator)
    rng = seeding.generator(options.seed, seeding.Purpose.STRATEGY)
    strategy = create(content, "strategy", Strategy, space, objective, rng)  # type: ignore[type-abstract]
    check_budgets(strategy, evaluator)
    constraints = section["constraints"].resolved(space)
    _check_constraints(constraints, space, dataset, options.seed)
    if isinstance(evaluator, SharedEvaluator) and hardware.is_remote:
        named, alone = hardware.named
        raise ConfigError(
            f"{named}: weights that all architectures share are trained and used in one process; choose {alone}"
        )
    if isinstance(evaluator, SharedEvaluator) and options.deduplicate == "reuse":
        options = replace(options, deduplicate="never")  # a score belongs to the shared weights of its time
    strategy = wrap(strategy, space, dataset, options, constraints)
    return Setup(
        options,
        section["output"],
        constraints,
        objective,
        space,
        dataset,
        hardware,
        evaluator,
        strategy,
        content,
        memory,
        _trackers(content),
    )


def _trackers(content: dict[str, Any]) -> dict[str, Tracker]:
    """The trackers of a config by name; runs of versions that had none name none."""
    section = content.get(TRACKER, {})
    return {
        name: instantiate(inner, TRACKER if inner == section else join(TRACKER, name), Tracker)  # type: ignore[type-abstract]
        for name, inner in sections_by_name(section).items()
    }


def rebuild(content: dict[str, Any]) -> tuple[Evaluator, Dataset]:
    """The evaluator of a checked config, with its data set: what a worker process makes for itself."""
    space = create(content, "search_space", SearchSpace)  # type: ignore[type-abstract]
    dataset = create(content, "dataset", Dataset)  # type: ignore[type-abstract]
    hardware = create(content, "hardware", Hardware)
    return _evaluator(content, space, dataset, hardware), dataset


def _evaluator(content: dict[str, Any], space: SearchSpace, dataset: Dataset, hardware: Hardware) -> Evaluator:
    """The evaluator of a config, within one that adds the costs that objectives or constraints name besides."""
    made = create(content, "evaluator", Evaluator, space, dataset, hardware)  # type: ignore[type-abstract]
    objective = ObjectiveOptions(**check_section(ObjectiveOptions, _mapping(content, "objective"), "objective"))
    limits = ConstraintOptions(**check_section(ConstraintOptions, _mapping(content, "constraints"), "constraints"))
    added = [name for name in COSTS if name in objective.metrics and name not in made.metrics]
    if limits.latency_ms is not None and LATENCY not in added:
        added.append(LATENCY)
    if LATENCY in added and isinstance(made, SharedEvaluator):
        named = limits.latency_ms is not None
        key = f"constraints.latency_ms={limits.latency_ms:g}" if named else f"objective.metric={show(objective.metric)}"
        raise ConfigError(f"{key}: weights that all architectures share have no latency; choose evaluator=train")
    return WithCosts(made, space, dataset.task, hardware, added, limits.latency_ms) if added else made


def wrap(
    strategy: Strategy, space: SearchSpace, dataset: Dataset, options: RunOptions, constraints: Constraints
) -> Strategy:
    """The strategy within its wrappers: constraints first, duplicates last, so that only trials are counted."""
    if constraints.parameters is not None or constraints.flops is not None:
        strategy = Constrain(strategy, space, dataset.task, constraints)
    if options.deduplicate != "never":
        strategy = Deduplicate(strategy, space, options.deduplicate)
    return strategy


def check_budgets(strategy: Strategy, evaluator: Evaluator) -> None:
    """ConfigError where the evaluator cannot measure at a budget of the strategy's, as far as it knows by now."""
    for budget in strategy.budgets:
        reason = evaluator.unsupported_budget_reason(budget)
        if reason:
            raise ConfigError(f"strategy.budgets=[{','.join(map(str, strategy.budgets))}]: {reason}")


def _check_constraints(constraints: Constraints, space: SearchSpace, dataset: Dataset, seed: int) -> None:
    """ConfigError where no architecture of a large random sample is within the constraints."""
    limits = {name: limit for name, limit in vars(constraints).items() if limit is not None}
    if not limits:
        return
    rng, task = sample_rng(seed), dataset.task
    smallest = dict.fromkeys(limits, float("inf"))
    for _ in range(CONSTRAINT_SAMPLES):
        cost = space.cost(space.sample(rng), task)
        if constraints.allow(cost):
            return
        smallest = {name: min(least, getattr(cost, name)) for name, least in smallest.items()}
    given = " ".join(f"constraints.{name}={limit}" for name, limit in limits.items())
    found = " and ".join(f"{least:,} {name}" for name, least in smallest.items())
    raise ConfigError(
        f"{given}: none of {CONSTRAINT_SAMPLES:,} random architectures is that small; the least among them: {found}"
    )


def _mapping(content: dict[str, Any], name: str) -> dict[str, Any]:
    value = content.get(name, {})
    if not isinstance(value, dict):
        raise ConfigError(f"{name}={show(value)}: expected keys below {name}, as in {name}.KEY=VALUE")
    return {str(key): entry for key, entry in value.items()}


def create(content: dict[str, Any], group: str, base: type[T], *runtime: Any) -> T:
    """The `base` that a group's section describes: `_target_` called with `runtime` and the checked options."""
    section = _mapping(content, group)
    if "_target_" not in section:
        raise ConfigError(f"{group}: not chosen; {nearest('', option_names(group))}")
    return instantiate(section, group, base, *runtime)


def instantiate(section: dict[str, Any], path: str, base: type[T], *runtime: Any) -> T:
    """The `base` that a section at a dotted path describes."""
    options = dict(section)
    kind = locate(options.pop("_target_"), base, join(path, "_target_"))
    arguments = check_section(kind, options, path)
    try:
        made = kind(*runtime, **arguments)
        if isinstance(made, SearchSpace) and made.section is None:
            made.section = {"_target_": f"{kind.__module__}.{kind.__qualname__}", **arguments}
        return made
    except ValueError as error:
        raise ConfigError(f"{path}.{first_line(error)}") from error


def locate(target: Any, base: type[T], path: str) -> type[T]:
    """The class that a dotted path names; ConfigError where there is none, or it is not a kind of `base`."""
    module, _, name = str(target).rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except Exception as error:  # a user's module may raise anything while it is imported
        raise ConfigError(f"{path}={show(target)}: cannot be imported ({first_line(error)})") from error
    if not isinstance(found, type) or not issubclass(found, base) or inspect.isabstract(found):
        public = base.__module__.removesuffix(".interfaces").removesuffix(".search_space")
        raise ConfigError(f"{path}={target}: expected a class that implements {public}.{base.__name__}")
    return found


def option_section(group: str, name: Any) -> dict[str, Any]:
    """The section that an option of a group stands for; ConfigError where there is no such option."""
    known = option_names(group)
    if name not in known:
        raise ConfigError(f"{group}={show(name)}: no such option; {nearest(str(name), known)}")
    return plain(OmegaConf.load(conf_dir() / group / f"{name}.yaml"))  # type: ignore[arg-type]


def option_names(group: str) -> list[str]:
    """The options of a group: the names of its YAML files."""
    return sorted(path.stem for path in (conf_dir() / group).glob("*.yaml"))


def sample_rng(seed: int) -> np.random.Generator:
    """The stream of previews (a dry run's sample), which no search draws from."""
    return seeding.generator(seed, seeding.Purpose.PREVIEW)


def as_overrides(pairs: Sequence[str]) -> dict[str, Any]:
    """`key=value` words of a command line as a mapping of dotted keys to YAML values."""
    overrides: dict[str, Any] = {}
    for pair in pairs:
        key, separator, _ = pair.partition("=")
        if not separator or not key:
            raise ConfigError(f"{pair}: expected key=value")
        try:
            overrides[key] = OmegaConf.select(OmegaConf.from_dotlist([pair]), key)
        except (OmegaConfBaseException, YAMLError) as error:
            raise ConfigError(f"{pair}: cannot be read; expected key=value") from error
    return overrides

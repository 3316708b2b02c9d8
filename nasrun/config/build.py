"""Builds the objects of a run from a composed config, or raises a one-line error.

`_target_` in the YAML selects a class; the signature of a class is the schema of its YAML (`nasrun.core.options`).
"""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from omegaconf import DictConfig, OmegaConf

from nasrun.config.baseline import check_baseline
from nasrun.config.constraints import ConstraintOptions, check_constraints, check_start
from nasrun.config.given import Given, Section
from nasrun.config.objective import ObjectiveOptions
from nasrun.config.own_parts import check_evaluator, check_space, check_strategy, facts_of
from nasrun.config.prescreen import PrescreenOptions
from nasrun.config.recipe import check_recipe
from nasrun.config.run_options import SECTIONS, OutputOptions, RunOptions
from nasrun.config.search_space import check_genes, given_content, space_of
from nasrun.config.sections import (
    create,
    instantiate,
    kind_of,
    locate,
    mapping,
    section_of,
)
from nasrun.config.shared_weights import check_derived, check_workers
from nasrun.config.time_budget import check_time
from nasrun.config.trackers import GROUP as TRACKER
from nasrun.config.trackers import class_sections, sections_by_name
from nasrun.core import Evaluator, Objective, SearchSpace, SharedEvaluator, Strategy, seeding
from nasrun.core.config_files import GROUPS
from nasrun.core.options import (
    ConfigError,
    check_section,
    from_text,
    join,
    nearest,
    plain,
    show,
)
from nasrun.core.options import options as options_of
from nasrun.datasets import Dataset
from nasrun.datasets.record import DataRecord, RecordedDataset
from nasrun.evaluators.costs import COSTS, LATENCY, WithCosts
from nasrun.evaluators.proxies.screening import Screening
from nasrun.hardware.devices import Hardware
from nasrun.hardware.onnx_program import missing_packages
from nasrun.hardware.shared_memory import SharedObject
from nasrun.strategies.checked import checked
from nasrun.strategies.timed.strategy import Timed
from nasrun.strategies.wrappers import Constrain, Constraints, Deduplicate
from nasrun.trackers import Tracker

UNCOUNTED = 1_000_000
"""Maximum number of trials under a time budget, which ends a search long before."""

FREE = ("vars", "from", "trial", "init")
"""Top-level keys that are not read here: `vars` holds values for other keys; `from` and `trial` are read by
`nasrun.config.from_run`; the evaluator's section refers to `init`."""


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """The evaluation part of a checked config as objects: everything except strategy and output."""

    options: RunOptions
    constraints: Constraints
    objective: Objective
    space: SearchSpace
    dataset: Dataset
    hardware: Hardware
    evaluator: Evaluator
    config: dict[str, Any] = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Setup(Benchmark):
    """A checked config as objects. Nothing has been loaded, trained or written yet."""

    output: OutputOptions
    strategy: Strategy
    steered: SearchSpace
    """The space seen by the strategy, which may scale genomes to the limits."""
    screening: Screening | None = None
    """Chooses among the draws of the strategy; None: no prescreening."""
    memory: SharedObject | None = None
    """Shared memory for the loaded data, if there are several workers."""
    trackers: dict[str, Tracker] = field(default_factory=dict)

    def prepare(self, recorded: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Load the data and prepare the evaluator and the screening; return the facts to record, or those
        `recorded`."""
        facts = facts_of(self.evaluator, recorded)
        if self.screening is not None:
            self.screening.prepare()
        return facts


def build(config: DictConfig, given: Mapping[str, Given] = {}) -> Setup:
    """Check a composed config and create its objects; ConfigError, in one line, if it cannot be run.

    `given`: objects of the calling program, by group, which replace the choices of the config.
    """
    content = given_content(plain(config), given)
    _read_variables(config, content)
    known = [*GROUPS, *SECTIONS, *FREE, *RunOptions.__dataclass_fields__]
    for name in content:
        if name not in known:
            raise ConfigError(f"{name}: no such key; {nearest(name, known)}")
    mapping(content, "vars")
    output = section_of(content, "output", OutputOptions)
    hardware = create(content, "hardware", Hardware)
    if given and hardware.is_remote:
        named, alone = hardware.named
        raise ConfigError(f"{named}: other processes cannot use objects of the calling program; choose {alone}")
    memory = SharedObject() if hardware.workers > 1 and hardware.shares_memory else None
    made = _benchmark(content, hardware, memory=memory)
    options, dataset, evaluator = made.options, made.dataset, made.evaluator
    check_recipe(mapping(content, "recipe"), evaluator)
    rng = seeding.generator(options.seed, seeding.Purpose.STRATEGY)
    steered, drawn_from, screening = _spaces_of_strategy(content, made)
    strategy = create(content, "strategy", Strategy, drawn_from, made.objective, rng)  # type: ignore[type-abstract]
    check_strategy(strategy)
    _check_together(content, made, strategy, steered, hardware)
    if isinstance(evaluator, SharedEvaluator):
        check_workers(hardware)
        evaluator.draw_from(steered)
        # A score is valid only for the shared weights at the time.
        options = replace(options, deduplicate="never") if options.deduplicate == "reuse" else options
    strategy = wrap(strategy, steered, dataset, options, made.constraints)
    if options.time is not None:
        strategy = Timed(strategy, steered, made.objective, options.patience_trials)
        options = replace(options, trials=UNCOUNTED, patience_trials=None)
    parts = {**vars(made), "options": options}
    return Setup(
        **parts,
        output=output,
        strategy=strategy,
        steered=steered,
        screening=screening,
        memory=memory,
        trackers=_trackers(content),
    )


def _check_together(
    content: dict[str, Any], made: Benchmark, strategy: Strategy, steered: SearchSpace, hardware: Hardware
) -> None:
    """ConfigError if options that are valid separately cannot be combined."""
    options, space, dataset, evaluator = made.options, made.space, made.dataset, made.evaluator
    check_budgets(strategy, evaluator)
    check_inheritance(content, strategy, evaluator)
    if options.time is not None:
        check_time(options.time, strategy, evaluator, hardware)
    if content.get("init") is not None and "init" not in content["evaluator"]:
        raise ConfigError(f"init={show(content['init'])}: needs evaluator=train; others load no weights")
    if options.baseline:
        check_baseline(evaluator, dataset)
    check_constraints(made.constraints, steered, dataset.task, options.seed)
    check_start(mapping(content, "strategy"), made.constraints, space, dataset.task)
    check_derived(strategy, evaluator, options.deduplicate, made.constraints)


def _spaces_of_strategy(content: dict[str, Any], made: Benchmark) -> tuple[SearchSpace, SearchSpace, Screening | None]:
    """The space scaled to the limits, the space from which the strategy draws, and the screening of its draws."""
    kind, steered = _strategy_class(content), made.space
    if kind.steerable:
        limits = section_of(content, "constraints", ConstraintOptions)
        steered = limits.steered(steered, made.dataset.task, made.objective, made.evaluator)
    prescreen = section_of(content, "prescreen", PrescreenOptions)
    screening = prescreen.screening(kind, steered, made.dataset, made.options.seed)
    return steered, prescreen.screened(steered, screening), screening


def _trackers(content: dict[str, Any]) -> dict[str, Tracker]:
    """The trackers of a config by name; empty for runs of versions without trackers."""
    section = content.get(TRACKER, {})
    return {
        name: instantiate(inner, TRACKER if inner == section else join(TRACKER, name), Tracker)  # type: ignore[type-abstract]
        for name, inner in sections_by_name(section).items()
    }


def _strategy_class(content: dict[str, Any]) -> type[Strategy]:
    """The class of the strategy; `Strategy` itself if a function of the calling program creates it."""
    section = content.get("strategy")
    if isinstance(section, Section):
        kind = section.thing if isinstance(section.thing, type) else type(section.thing)
        return kind if issubclass(kind, Strategy) else Strategy
    return kind_of(content, "strategy", Strategy)  # type: ignore[type-abstract]


def build_benchmark(config: DictConfig, data: DataRecord | None = None, given: Mapping[str, Given] = {}) -> Benchmark:
    """The evaluation part of a stored run, for read-only use: creates no strategy, tracker or hardware.

    `data`: the record of its data, used instead of the data set; None if the run has no record. `given`: as for
    `build`.
    """
    content = given_content(plain(config), given)
    return _benchmark(content, Hardware(), None if data is None else RecordedDataset(data))


def _benchmark(
    content: dict[str, Any], hardware: Hardware, dataset: Dataset | None = None, memory: SharedObject | None = None
) -> Benchmark:
    """Create the parts of a benchmark. `memory`: shared memory for the loaded data."""
    top = {name: value for name, value in content.items() if name in RunOptions.__dataclass_fields__}
    options = RunOptions(**check_section(RunOptions, top, ""))
    objective = section_of(content, "objective", ObjectiveOptions)
    constraints = section_of(content, "constraints", ConstraintOptions)
    space = space_of(content)
    if dataset is None:
        dataset = create(content, "dataset", Dataset)  # type: ignore[type-abstract]
    check_space(space, dataset.task)
    if memory is not None:
        dataset.place = memory.put
    evaluator = evaluator_of(content, space, dataset, hardware)
    return Benchmark(
        options=options,
        constraints=constraints.resolved(space, dataset.task),
        objective=objective.resolved(evaluator),
        space=space,
        dataset=dataset,
        hardware=hardware,
        evaluator=evaluator,
        config={name: dict(value) if isinstance(value, Section) else value for name, value in content.items()},
    )


def limits_of(content: Mapping[str, Any]) -> ConstraintOptions:
    """The limits of a config as the user gives them, with steering on."""
    return replace(section_of(dict(content), "constraints", ConstraintOptions), steer=True)


def rebuild(content: dict[str, Any]) -> tuple[Evaluator, Dataset]:
    """Create the evaluator and the data set of a checked config, in a worker process."""
    space = space_of(content)
    dataset = create(content, "dataset", Dataset)  # type: ignore[type-abstract]
    hardware = create(content, "hardware", Hardware)
    return evaluator_of(content, space, dataset, hardware), dataset


def evaluator_of(content: dict[str, Any], space: SearchSpace, dataset: Dataset, hardware: Hardware) -> Evaluator:
    """The evaluator of a config, wrapped to add costs that objectives or constraints need."""
    check_genes(space, content)
    made = create(content, "evaluator", Evaluator, space, dataset, hardware)  # type: ignore[type-abstract]
    check_evaluator(made)
    objective = section_of(content, "objective", ObjectiveOptions)
    limits = section_of(content, "constraints", ConstraintOptions)
    made.measure_also([name for name in objective.metrics if name in made.optional_metrics])
    added = [name for name in COSTS if name in objective.metrics and name not in made.metrics]
    if limits.latency_ms is not None and LATENCY not in added:
        added.append(LATENCY)
    if LATENCY in added and isinstance(made, SharedEvaluator):
        named = limits.latency_ms is not None
        key = f"constraints.latency_ms={limits.latency_ms:g}" if named else f"objective.metric={show(objective.metric)}"
        raise ConfigError(f"{key}: shared weights have no latency; choose evaluator=train")
    unused = "latency_by=onnx" if hardware.latency_by == "onnx" else None
    unused = unused if hardware.latency_table is None else f"latency_table={hardware.latency_table}"
    if unused is not None and LATENCY not in added:
        raise ConfigError(
            f"hardware.{unused}: no option needs latencies; add constraints.latency_ms=N, or name {LATENCY} as an "
            "objective"
        )
    missing = missing_packages() if LATENCY in added and hardware.latency_by == "onnx" else None
    if missing:
        raise ConfigError(f"hardware.latency_by=onnx: {missing}")
    return WithCosts(made, space, dataset.task, hardware, added, limits.latency_ms) if added else made


def wrap(
    strategy: Strategy, space: SearchSpace, dataset: Dataset, options: RunOptions, constraints: Constraints
) -> Strategy:
    """The strategy in its wrappers: checks of a user's one innermost, then constraints; duplicates outermost, so that
    only trials are counted."""
    strategy = checked(strategy, space)
    if constraints.limits:
        strategy = Constrain(strategy, space, dataset.task, constraints)
    if options.deduplicate != "never":
        strategy = Deduplicate(strategy, space, options.deduplicate)
    return strategy


def check_budgets(strategy: Strategy, evaluator: Evaluator) -> None:
    """ConfigError if the evaluator is known not to support a budget of the strategy."""
    for budget in strategy.budgets:
        reason = evaluator.unsupported_budget_reason(budget)
        if reason:
            raise ConfigError(f"strategy.budgets=[{','.join(map(str, strategy.budgets))}]: {reason}")


def check_inheritance(content: dict[str, Any], strategy: Strategy, evaluator: Evaluator) -> None:
    """ConfigError if children should inherit weights but the evaluator saves none."""
    if strategy.inherits and not evaluator.saves:
        inherit = show(mapping(content, "strategy").get("inherit"))
        raise ConfigError(
            f"strategy.inherit={inherit}: needs evaluator=train, which saves the weights of every network; "
            "use strategy.inherit=none"
        )


def _read_variables(config: DictConfig, content: dict[str, Any]) -> None:
    """Convert values of references such as `seed: ${oc.env:SEED}` in the content of a config.

    An environment variable is text; it is parsed where the option does not accept text.
    """
    raw: Any = OmegaConf.to_container(config, resolve=False)
    _read_section(RunOptions, raw, content)
    written = {**raw, **class_sections(raw)}
    for name, section in {**{name: content.get(name) for name in SECTIONS}, **class_sections(content)}.items():
        known = SECTIONS.get(name)
        if not isinstance(section, dict) or "${" not in str(written[name]) or not isinstance(written[name], dict):
            continue
        if known is None:
            with contextlib.suppress(ConfigError):  # reported when the object is created
                known = locate(section.get("_target_"), object, name)
        if known is not None:
            _read_section(known, written[name], section)


def _read_section(kind: type, raw: Mapping[str, Any], values: dict[str, Any]) -> None:
    for name, parameter in options_of(kind).items():
        if name in values and "${" in str(raw[name]):
            values[name] = from_text(parameter.annotation, values[name])


def sample_rng(seed: int) -> np.random.Generator:
    """The random stream of previews (samples of a dry run), which no search uses."""
    return seeding.generator(seed, seeding.Purpose.PREVIEW)

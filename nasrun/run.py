"""One run from a checked config to a finished directory: create, search, test the winner, write the tables."""

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from nasrun import __version__, journal, seeding
from nasrun.checkpoints import CheckpointStore
from nasrun.config import Setup, build, first_line, plain, rebuild
from nasrun.environment import describe_environment
from nasrun.hardware.devices import gpus_of_workers
from nasrun.hardware.inline import InlineExecutor
from nasrun.journal import Event, Journal
from nasrun.protocols import Executor, Job, SharedEvaluator, Trial
from nasrun.records import Observer, TrialRecord, assemble, write_json
from nasrun.reports.changes import write_changes
from nasrun.reports.console import make_console
from nasrun.reports.shared_table import write_shared
from nasrun.reports.summary import finite, write_summary
from nasrun.reports.tables import write_tables
from nasrun.run_directory import create_directory, holds_run, load_config, locked
from nasrun.schema import ConfigError, join, nearest, show
from nasrun.search import Search
from nasrun.shared import SharedWeights

FORMAT = 1
NOTES = "strategy.json"
REFRESH_SECONDS = 5.0
CHANGEABLE = ("trials", "max_failures", "output", "debug", "dry_run", "resume")
"""Keys that a resumed run may have changed: none of them changes what was searched so far."""


class RunError(Exception):
    """A run that cannot go on; the text is the reason, in one line."""


class Interrupted(KeyboardInterrupt):
    """A run that was stopped from outside; the text says how to go on with it."""


def start(
    config: DictConfig, directory: Path, *, unique: bool, choices: Mapping[str, str | None] = {}
) -> dict[str, Any]:
    """Run a config in a new directory and return its summary.

    `unique`: where the directory is taken, a number is added to its name (for names that nasrun chose itself).
    `choices`: the option chosen in each config group, for the record: by these names runs are compared.
    """
    setup = build(config)
    if setup.options.resume and holds_run(directory):
        return resume(directory, _changes(directory, config))
    facts = setup.evaluator.prepare()
    header = {"event": "run", "format": FORMAT, "nasrun": __version__, "seed": setup.options.seed}
    header |= {"trials": setup.options.trials, "environment": describe_environment(), "facts": facts}
    header |= {"choices": dict(choices), "time": time.time()}
    directory = create_directory(directory, config, header, unique=unique)
    with locked(directory):
        return _execute(setup, directory, journal.read(directory / journal.NAME))


def resume(directory: Path, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Go on with the run in a directory after a crash or an interruption, or extend a finished one.

    `overrides`: dotted keys and their new values; only `CHANGEABLE` keys may differ from what they were.
    """
    if not holds_run(directory):
        raise ConfigError(f"{directory}: holds no run that could be resumed (it has no {journal.NAME})")
    with locked(directory):
        events = journal.repair(directory / journal.NAME)
        config, changes = _changed_config(directory, events, overrides)
        setup = build(config)
        _check_trials(setup, events)
        setup.evaluator.prepare(events[0]["facts"])
        return _execute(setup, directory, events, changes)


def _changed_config(
    directory: Path, events: Sequence[Event], overrides: Mapping[str, Any]
) -> tuple[DictConfig, dict[str, Any]]:
    """The config under new overrides, and those of them that change something; ConfigError for the forbidden."""
    config = load_config(directory, events)
    changes: dict[str, Any] = {}
    for key, value in overrides.items():
        try:
            known, old = True, OmegaConf.select(config, key, throw_on_missing=True)
        except OmegaConfBaseException:
            known, old = False, None
        parent = OmegaConf.select(config, key.rpartition(".")[0]) if "." in key else config
        if not known or not isinstance(parent, DictConfig) or key.rpartition(".")[2] not in parent:
            raise ConfigError(f"{key}: no such key in this run; {nearest(key, CHANGEABLE)}")
        if old == value:
            continue
        if key.partition(".")[0] not in CHANGEABLE:
            raise ConfigError(
                f"{key}={show(value)}: would change the search, which ran with {show(old)}; "
                f"a resumed run may change {', '.join(CHANGEABLE)}"
            )
        changes[key] = value
        OmegaConf.update(config, key, value)
    return config, changes


def _changes(directory: Path, config: DictConfig) -> dict[str, Any]:
    """What a config says otherwise than the run in a directory, as dotted keys."""
    old = _flat(plain(load_config(directory, journal.read(directory / journal.NAME))))
    new = _flat(plain(config))
    return {key: new.get(key) for key in sorted({*old, *new}) if old.get(key) != new.get(key) and key != "resume"}


def _flat(content: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in content.items():
        flat |= _flat(value, join(path, name)) if isinstance(value, Mapping) else {join(path, name): value}
    return flat


def _check_trials(setup: Setup, events: Sequence[Event]) -> None:
    asked = sum(len(event["proposals"]) for event in events if event["event"] == "ask")
    if setup.options.trials < asked:
        raise ConfigError(f"trials={setup.options.trials}: {asked} are already there; a run can only be extended")


def _execute(
    setup: Setup, directory: Path, events: list[Event], changes: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Replay what the journal holds, search on, finish, and return the summary. `changes`: those of a resume."""
    space, objective, output = setup.space, setup.objective, setup.output
    console = make_console(output.console, space, objective)
    watchers = _Watchers(console, _TableRefresh(setup, directory))
    log = Journal(directory / journal.NAME)
    executor = _executor(setup, events[0]["facts"])
    keep = output.keep if setup.evaluator.saves else "none"
    continues = setup.strategy.continues and setup.evaluator.saves
    checkpoints = CheckpointStore(directory, keep, output.keep_count, output.limit_mb, continues=continues)
    search = Search(
        setup.strategy,
        executor,
        log,
        objective,
        watchers,
        checkpoints,
        seed=setup.options.seed,
        trials=setup.options.trials,
        repeats=setup.evaluator.repeats,
        in_flight=setup.hardware.trials_in_flight,
        max_failures=setup.options.max_failures,
        order=setup.hardware.order,
        shared=_shared_weights(setup, log, directory, events[0]["trials"]),
    )
    setup.evaluator.on_progress = console.progress
    try:
        search.replay(events)
        finished = events[-1]["event"] == "end" and events[-1]["complete"] and not changes
        if changes is not None and not finished:
            log.append("resume", changes=dict(changes), time=time.time())
        watchers.started(setup.options.trials, search.records, directory)
        for line in _notes(setup, events):
            console.message(line)
        ending = search.run()
        executor.close()
        if ending.complete and search.best is not None:
            _finish(setup, directory, search, checkpoints, events, log, console)
            checkpoints.clear()
        if not finished:
            log.append("end", dear=True, reason=ending.reason, complete=ending.complete, time=time.time())
        summary = write_results(setup, directory)
        notes = setup.strategy.notes()
        if notes:
            write_json(directory / NOTES, finite(notes))
            write_changes(directory, notes)
        if output.plots:
            from nasrun.reports.pictures import write_pictures

            run = assemble(directory, journal.read(directory / journal.NAME))
            write_pictures(run, summary, notes, space, objective)
        if not ending.complete or search.best is None:
            reason = ending.reason if not ending.complete else "no trial succeeded"
            raise RunError(f"{reason}; what there is lies in {directory}")
        console.finished(summary)
        return summary
    except KeyboardInterrupt:
        write_tables(directory, search.records, space, objective, setup.options.seed)
        raise Interrupted(f"interrupted; go on with: nasrun resume {directory}") from None
    except OSError as error:
        raise RunError(f"{directory}: {error.strerror or error}; go on with: nasrun resume {directory}") from error
    finally:
        executor.close()
        console.close()
        with contextlib.suppress(OSError):
            log.close()


def _executor(setup: Setup, facts: Mapping[str, Any]) -> Executor:
    """Where the jobs run: in this process, or in several others."""
    workers = setup.hardware.workers
    if workers == 1:
        return InlineExecutor(setup.evaluator)
    from nasrun.hardware.processes import ProcessExecutor
    from nasrun.hardware.worker import Recipe

    data = setup.memory if setup.memory is not None and setup.memory.descriptor >= 0 else None
    recipe = Recipe(partial(rebuild, setup.config), facts, data)
    on_gpus = facts.get("runtime", {}).get("device") == "cuda"
    return ProcessExecutor(setup.evaluator, recipe, workers, gpus_of_workers(workers) if on_gpus else None)


def _shared_weights(setup: Setup, log: Journal, directory: Path, trials: int) -> SharedWeights | None:
    """What trains and keeps the weights of an evaluator that shares them; None for any other."""
    if not isinstance(setup.evaluator, SharedEvaluator):
        return None
    return SharedWeights(setup.evaluator, setup.space, log, directory, seed=setup.options.seed, trials=trials)


def _notes(setup: Setup, events: Sequence[Event]) -> Iterator[str]:
    """What a user should know before the first trial."""
    places = (events[0]["environment"], describe_environment())
    then, now = ({"processor": place["processor"], **place["packages"]} for place in places)
    for name, old in then.items():
        if now[name] != old:
            yield f"begun with {name} {old}, going on with {now[name]}: results may differ in the last digits"
    runtime = events[0]["facts"].get("runtime")
    if runtime:
        threads = f", {runtime['threads']} threads" if runtime["device"] == "cpu" else ""
        threads += f", {setup.hardware.workers} workers" if setup.hardware.workers > 1 else ""
        yield f"{runtime['device']}{threads}, {runtime['precision']}: {runtime['reason']}"
    if setup.evaluator.repeats * setup.hardware.trials_in_flight > 1:  # else nothing trains together
        for name, chosen in (("replicas", "mode"), ("products", "backend")):
            if name in events[0]["facts"]:
                choice = events[0]["facts"][name]
                yield f"{name} {choice[chosen]}: {choice['reason']}"
    length = setup.strategy.length
    if length is not None and setup.options.trials < length:
        yield f"trials={setup.options.trials}: the strategy takes {length} to its end; the last ones are left out"
    initial = setup.strategy.initial
    if initial and setup.options.trials <= initial:
        yield f"trials={setup.options.trials} are no more than the {initial} random ones at first: nothing is evolved"


def _finish(
    setup: Setup,
    directory: Path,
    search: Search,
    checkpoints: CheckpointStore,
    events: Sequence[Event],
    log: Journal,
    console: Observer,
) -> None:
    """The winner's final training and its one measurement on the test set, unless the journal holds them already."""
    told, best = len(search.records), search.winner
    if best is None or any(event["event"] == "final" and event["told"] == told for event in events):
        return
    console.finishing(best)
    number = best.trial.proposal.reuse_of if best.trial.proposal.reuse_of is not None else best.trial.number
    ranked = sorted((m for m in best.measurements if m.status == "ok"), key=lambda m: -setup.objective.score([m]))
    source = checkpoints.path(number, ranked[0].repeat)
    job = Job(
        Trial(number, best.trial.proposal),
        ranked[0].repeat,
        seeding.integer(setup.options.seed, seeding.Purpose.FINAL),
        str(source) if source.is_file() else None,
        str(directory / "best" / "model.safetensors") if _has_weights(setup) else None,
    )
    try:
        result = setup.evaluator.final(job)
    except Exception as error:
        raise RunError(f"the winner's final training failed: {first_line(error)}") from error
    # Which network it is where the strategy says so, and not the objective.
    chosen = {"chosen": True} if setup.strategy.chosen() is not None else {}
    log.append("final", dear=True, trial=best.trial.number, told=told, **chosen, **result, time=time.time())


def _has_weights(setup: Setup) -> bool:
    """Whether the evaluator gives the winner's weights at the end."""
    return setup.evaluator.saves or isinstance(setup.evaluator, SharedEvaluator)


def write_results(setup: Setup, directory: Path) -> dict[str, Any]:
    """(Re)write the tables and summaries of a run directory from its journal; returns the summary."""
    events = journal.read(directory / journal.NAME)
    run = assemble(directory, events)
    write_tables(directory, run.trials, setup.space, setup.objective, setup.options.seed)
    write_shared(directory, events)
    return write_summary(run, setup.space, setup.objective)


class _Watchers(Observer):
    """Passes what the search tells on to several observers."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    def started(self, trials: int, records: Mapping[int, TrialRecord], directory: Path) -> None:
        for observer in self._observers:
            observer.started(trials, records, directory)

    def message(self, text: str) -> None:
        for observer in self._observers:
            observer.message(text)

    def asked(self, trial: Trial) -> None:
        for observer in self._observers:
            observer.asked(trial)

    def told(self, record: TrialRecord, best: TrialRecord | None) -> None:
        for observer in self._observers:
            observer.told(record, best)


class _TableRefresh(Observer):
    """Rewrites the tables while the search goes on: at most every five seconds, and for at most 2 % of the time."""

    def __init__(self, setup: Setup, directory: Path) -> None:
        self._setup, self._directory = setup, directory
        self._due = time.monotonic() + REFRESH_SECONDS
        self._records: Mapping[int, TrialRecord] = {}

    def started(self, trials: int, records: Mapping[int, TrialRecord], directory: Path) -> None:
        self._records = records

    def told(self, record: TrialRecord, best: TrialRecord | None) -> None:
        now = time.monotonic()
        if now < self._due:
            return
        write_tables(self._directory, self._records, self._setup.space, self._setup.objective, self._setup.options.seed)
        self._due = time.monotonic() + max(REFRESH_SECONDS, 50 * (time.monotonic() - now))

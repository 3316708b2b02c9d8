"""One run from a checked config to a finished directory: create, search, test the winner, write the tables."""

import contextlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from nasrun import __version__
from nasrun.checkpoints.store import CheckpointStore
from nasrun.config.build import Setup, build, check_budgets
from nasrun.core import Job, SharedEvaluator, Trial, seeding
from nasrun.core.environment import describe_environment
from nasrun.core.options import ConfigError, first_line
from nasrun.reports.changes import write_changes
from nasrun.reports.console.plain import make_console
from nasrun.reports.shared_table import write_shared
from nasrun.reports.summary import finite, write_summary
from nasrun.reports.tables import write_tables
from nasrun.runner import interrupts
from nasrun.runner.errors import RunError, resumable, watched
from nasrun.runner.executors import make_executor
from nasrun.runner.observers import Observers, TableRefresh
from nasrun.runner.resume import CHANGEABLE, changed_config, changes_of, check_trials, flat
from nasrun.runner.salvage import recalling, save_journal
from nasrun.runner.search import Search
from nasrun.runner.shared_weights import SharedWeights
from nasrun.runner.startup_messages import startup_messages
from nasrun.storage import journal
from nasrun.storage.journal import Event, Journal
from nasrun.storage.records import Observer, assemble, write_json
from nasrun.storage.run_directory import clear_temporary, create_directory, holds_run, locked
from nasrun.storage.stored_config import servers, targets
from nasrun.trackers.observer import Tracking

NOTES = "strategy.json"


def start(
    config: DictConfig,
    directory: Path,
    *,
    unique: bool,
    choices: Mapping[str, str | None] = {},
    sweep: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Run a config in a new directory and return its summary.

    `unique`: where the directory is taken, a number is added to its name (for names that nasrun chose itself).
    `choices`: the option of each group, by which runs are compared. `sweep`: its `folder` and the number of the `job`.
    """
    setup = build(config)
    if setup.options.resume and holds_run(directory):
        return resume(directory, changes_of(directory, config), chosen=[*targets(config), *servers(config)])
    facts = setup.evaluator.prepare()
    check_budgets(setup.strategy, setup.evaluator)
    header = {"event": "run", "format": journal.FORMAT, "nasrun": __version__, "seed": setup.options.seed}
    header |= {"trials": setup.options.trials, "environment": describe_environment(), "facts": facts}
    header |= {"choices": dict(choices), **({"sweep": dict(sweep)} if sweep else {}), "time": journal.now()}
    with _hardware(setup):
        directory = create_directory(directory, config, header, unique=unique)
        with resumable(directory), locked(directory):
            return _execute(setup, directory, journal.read(directory / journal.NAME))


def resume(
    directory: Path, overrides: Mapping[str, Any], *, chosen: Collection[str] = (), salvage: bool = False
) -> dict[str, Any]:
    """Go on with the run in a directory after a crash or an interruption, or extend a finished one.

    `overrides`: dotted keys and their new values; only `CHANGEABLE` keys may differ from what they were. `chosen`: the
    classes and servers that the command line names itself; of what the directory names, others are refused.
    `salvage`: the journal is damaged; what is whole of it is saved first (`nasrun.runner.salvage`).
    """
    if not holds_run(directory):
        raise ConfigError(f"{directory}: holds no run that could be resumed (it has no {journal.NAME})")
    with resumable(directory), locked(directory):
        if salvage:
            save_journal(directory, chosen)
        events = journal.repair(directory / journal.NAME)
        if not events:
            raise ConfigError(f"{directory / journal.NAME}: holds no whole line; start the run anew")
        config, changes = changed_config(directory, events, overrides, chosen)
        clear_temporary(directory)
        setup = build(config)
        check_trials(setup, events)
        setup.evaluator.prepare(events[0]["facts"])
        with _hardware(setup):
            return _execute(setup, directory, events, changes)


def _hardware(setup: Setup) -> contextlib.AbstractContextManager[None]:
    data = setup.dataset.loaded
    return setup.hardware.opened(0 if data is None else data.nbytes)


def _execute(
    setup: Setup, directory: Path, events: list[Event], changes: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Replay what the journal holds, search on, finish, and return the summary. `changes`: those of a resume."""
    space, objective, output = setup.space, setup.objective, setup.output
    console = make_console(output.console, space, objective)
    told = (events[0], flat(setup.config), space, objective, console.message, CHANGEABLE)
    tracking = Observers(*(Tracking(name, tracker, *told) for name, tracker in setup.trackers.items()))
    observers = Observers(console, TableRefresh(setup, directory), tracking)
    log = Journal(directory / journal.NAME)
    executor = make_executor(setup, events[0]["facts"], directory, console.message)
    executor = recalling(executor, setup, directory, events)
    keep = output.keep if setup.evaluator.saves else "none"
    uses_checkpoints = setup.strategy.uses_checkpoints and setup.evaluator.saves
    checkpoints = CheckpointStore(
        directory, keep, output.keep_count, output.limit_mb, uses_checkpoints=uses_checkpoints
    )
    search = Search(
        setup.strategy,
        executor,
        log,
        objective,
        observers,
        checkpoints,
        seed=setup.options.seed,
        trials=setup.options.trials,
        repeats=setup.evaluator.repeats,
        in_flight=setup.hardware.trials_in_flight,
        max_failures=setup.options.max_failures,
        order=setup.hardware.order,
        shared=_shared_weights(setup, log, directory, events[0]["trials"]),
    )
    setup.evaluator.on_progress = watched(log, console.on_progress)
    try:
        with journal.reject_invalid_events(directory / journal.NAME):
            search.replay(events)
        finished = events[-1]["event"] == "end" and events[-1]["complete"] and not changes
        if changes is not None and not finished:
            log.append("resume", changes=dict(changes), time=journal.now())
        observers.on_start(setup.options.trials, search.records, directory)
        for line in startup_messages(setup, events):
            console.message(line)
        ending = search.run()
        executor.close()
        if ending.complete and search.best is not None:
            _finish(setup, directory, search, checkpoints, events, log, console)
            checkpoints.clear()
        if not finished:
            log.append("end", fsync=True, reason=ending.reason, complete=ending.complete, time=journal.now())
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
        tracking.on_finish(summary)
        console.on_finish(summary)
        return summary
    except KeyboardInterrupt:
        interrupts.end()
        with contextlib.suppress(OSError):
            write_tables(directory, search.records, space, objective, setup.options.seed)
        raise
    finally:
        # The terminal first: it is to be whole again whatever becomes of the rest.
        console.close()
        executor.close()
        with contextlib.suppress(OSError):
            log.close()
        tracking.close()


def _shared_weights(setup: Setup, log: Journal, directory: Path, trials: int) -> SharedWeights | None:
    """What trains and keeps the weights of an evaluator that shares them; None for any other."""
    if not isinstance(setup.evaluator, SharedEvaluator):
        return None
    return SharedWeights(setup.evaluator, setup.space, log, directory, seed=setup.options.seed, trials=trials)


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
    console.on_final_training(best)
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
    except OSError:
        raise
    except Exception as error:
        raise RunError(f"the winner's final training failed: {first_line(error)}") from error
    # Which network it is where the strategy says so, and not the objective.
    chosen = {"chosen": True} if setup.strategy.selected_trial() is not None else {}
    log.append("final", fsync=True, trial=best.trial.number, told=told, **chosen, **result, time=journal.now())


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

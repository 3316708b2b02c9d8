"""One run, from a checked config to a finished directory: create, search, test the winner, write the tables."""

import contextlib
import itertools
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from nasrun import __version__
from nasrun.checkpoints.store import CheckpointStore
from nasrun.config.build import Benchmark, Setup, build, check_budgets
from nasrun.config.given import Given, check_same
from nasrun.config.own_code import OwnCode, own_code
from nasrun.config.paths import path_options
from nasrun.config.stored_run import check_data
from nasrun.core import Executor, SharedEvaluator
from nasrun.core.answers import innermost, is_users
from nasrun.core.environment import describe_environment
from nasrun.core.options import ConfigError, flat
from nasrun.core.output import show
from nasrun.datasets.record import record_of
from nasrun.reports.architecture_table import write_architecture
from nasrun.reports.changes import write_changes
from nasrun.reports.console.plain import make_console
from nasrun.reports.data import read_overview, result_warnings
from nasrun.reports.shared_table import write_shared
from nasrun.reports.summary import finite, write_summary
from nasrun.reports.tables import write_tables
from nasrun.runner import interrupts
from nasrun.runner.baseline import Baseline
from nasrun.runner.clock import Clock, Instant, this_moment
from nasrun.runner.errors import RunError, resumable, watched
from nasrun.runner.executors import make_executor
from nasrun.runner.final import Final
from nasrun.runner.observers import Observers, PageRefresh, TableRefresh
from nasrun.runner.own_code import accepts_changes, changed_code, recorded, stored_files
from nasrun.runner.presence import Presence
from nasrun.runner.resume import CHANGEABLE, asking_for_data, changed_config, check_trials, replay
from nasrun.runner.salvage import recalling, save_journal
from nasrun.runner.search import Ending, Search, SearchOptions
from nasrun.runner.shared_weights import SharedWeights
from nasrun.runner.startup_messages import look_at_data, startup_messages
from nasrun.runner.time_budget import TimeBudget, first_plan, time_budget
from nasrun.storage import journal
from nasrun.storage.events import Ended, Resumed, RunStarted
from nasrun.storage.journal import Journal
from nasrun.storage.lock import Hold, locked
from nasrun.storage.paths import given_paths, header_entry
from nasrun.storage.records import Observer, RunLog, RunRecords, assemble, write_json
from nasrun.storage.run_directory import clear_temporary, create_directory, holds_run, runs_in
from nasrun.storage.stored_config import only_in_program
from nasrun.trackers.observer import Tracking

NOTES = "strategy.json"


def start(
    config: DictConfig, directory: Path, *, unique: bool, choices: Mapping[str, str | None] = {}
) -> dict[str, Any]:
    """Check a config and run it in a new directory; returns the summary. `begin` has more options."""
    began = this_moment()
    return begin(build(config), directory, unique=unique, choices=choices, began=began)


def begin(
    setup: Setup,
    directory: Path,
    *,
    unique: bool,
    choices: Mapping[str, str | None] = {},
    sweep: Mapping[str, Any] | None = None,
    words: Sequence[str] = (),
    began: Instant | None = None,
    check: Callable[[Setup], None] = lambda setup: None,
) -> dict[str, Any]:
    """Run a checked config in a new directory and return its summary.

    `unique`: if the directory exists, add a number to its name (for names that nasrun chose itself). `choices`: the
    option of each group, by which runs are compared. `sweep`: its `folder` and the number of the `job`. `words`: the
    command line of this run alone. `check`: called once the data are loaded, before anything is created. `began`: the
    moment from which a time budget is spent; None: now.
    """
    began = began or this_moment()
    facts = setup.prepare()
    check_budgets(setup.strategy, setup.evaluator)
    check(setup)
    say = show if setup.output.console != "none" else (lambda text: None)
    plan, code = first_plan(setup, began, say), own_code(setup.config)
    header = RunStarted(
        nasrun=__version__,
        seed=setup.options.seed,
        trials=setup.options.trials,
        environment=describe_environment(words),
        facts=facts,
        choices=dict(choices),
        sweep=dict(sweep) if sweep else None,
        data=record_of(setup.dataset).to_json(),
        paths=header_entry(path_options(setup.config), directory),
        code=code.record() if code.classes else None,
        **plan,
    )
    with _hardware(setup) as held:
        config, files = OmegaConf.create(setup.config), stored_files(code)
        directory = create_directory(directory, config, header, unique=unique, words=words, files=files)
        with resumable(directory, only_in_program(setup.config)), locked(directory) as hold:
            run = assemble(directory, journal.lines_of(directory / journal.NAME), keep_events=True)
            return _execute(setup, run, Clock(setup.hardware.clock, began), hold, held)


def resume(
    directory: Path,
    overrides: Mapping[str, Any],
    *,
    chosen: Collection[str] = (),
    salvage: bool = False,
    began: Instant | None = None,
    given: Mapping[str, Given] = {},
    quiet: bool = False,
) -> dict[str, Any]:
    """Resume the run in a directory after a crash or an interruption, or extend a finished one.

    `overrides`: dotted keys and their new values; only `CHANGEABLE` keys may differ from what they were. `chosen`: the
    classes that the command line itself names; other classes named in the directory are refused unless they are
    nasrun's own, and so are servers that `overrides` do not name. `salvage`: the journal is damaged; its intact part is
    saved first (`nasrun.runner.salvage`). `began`: as for `start`. `given`: objects of the calling program, by group,
    if the run was started with such. `quiet`: no output on the console this time.
    """
    began = began or this_moment()
    if not holds_run(directory):
        raise ConfigError(
            f"{directory}: holds no run that could be resumed (it has no {journal.NAME}){runs_in(directory)}"
        )
    with resumable(directory, list(given)), locked(directory) as hold:
        if salvage:
            save_journal(directory, chosen)
        lines = journal.repair(directory / journal.NAME)
        first = next(lines, None)
        if first is None:
            raise ConfigError(f"{directory / journal.NAME}: holds no intact line; start the run again")
        run = assemble(directory, itertools.chain([first], lines), keep_events=True)
        accepted, overrides = accepts_changes(overrides)
        config, changes = changed_config(run, overrides, chosen)
        check_same(config, given)
        clear_temporary(directory)
        with asking_for_data(run, config):
            setup = build(config, given)
            setup = silent(setup) if quiet else setup
            check_trials(setup, run, changes)
            over = run.end is not None and run.end.complete and not changes  # nothing is left to compute
            code = None if over else changed_code(run, setup.config, accepted)
            setup.prepare(run.header.facts)
            check_data(run, config, setup.dataset)
        with _hardware(setup) as held:
            return _execute(setup, run, Clock(setup.hardware.clock, began, run.spent), hold, held, changes, code)


def silent(setup: Setup) -> Setup:
    """The same run without output on the console, which its stored config does not say."""
    return replace(setup, output=replace(setup.output, console="none"))


def _hardware(setup: Setup) -> contextlib.ExitStack:
    """The hardware of a run, which is released when this is closed."""
    data, held = setup.dataset.loaded, contextlib.ExitStack()
    held.enter_context(setup.hardware.opened(0 if data is None else data.nbytes))
    return held


@dataclass(frozen=True, kw_only=True)
class _Parts:
    """The objects of a run: observers, writers, the executor, and the search itself."""

    console: Observer
    presence: Presence
    page: Observer
    tracking: Observers
    observers: Observers
    log: RunLog
    executor: Executor
    held: contextlib.ExitStack
    checkpoints: CheckpointStore
    budget: TimeBudget | None
    search: Search

    @classmethod
    def of(cls, setup: Setup, run: RunRecords, clock: Clock, held: contextlib.ExitStack) -> "_Parts":
        """The parts of a run that has not begun yet. `held`: its hardware."""
        directory, space, objective, output = run.directory, setup.space, setup.objective, setup.output
        console = make_console(output.console, space, objective)
        config = {**flat(setup.config), **given_paths(run.header)}
        told = (run.header, config, space, objective, console.message, CHANGEABLE)
        tracking = Observers(*(Tracking(name, tracker, *told) for name, tracker in setup.trackers.items()))
        log = RunLog(directory / journal.NAME, run)
        executor = make_executor(setup, run.header.facts, directory, console.message)
        executor = recalling(executor, setup, run)
        presence = Presence(executor, objective)
        console = Observers(console, presence)
        page = Observer()
        if output.plots and output.refresh is not None:
            page = PageRefresh(setup, run, output.refresh, console.message)
        observers = Observers(console, TableRefresh(setup, directory), page, tracking)
        keep = output.keep if setup.evaluator.saves else "none"
        continues = setup.strategy.uses_checkpoints and setup.evaluator.saves
        checkpoints = CheckpointStore(directory, keep, output.keep_count, output.limit_mb, uses_checkpoints=continues)
        budget = time_budget(setup, clock, log, console.message)
        shared = _shared_weights(setup, log, directory, run.header.trials)
        options = SearchOptions.of(setup)
        search = Search(setup.strategy, executor, log, observers, checkpoints, options, shared=shared, budget=budget)
        return cls(
            console=console,
            presence=presence,
            page=page,
            tracking=tracking,
            observers=observers,
            log=log,
            executor=executor,
            held=held,
            checkpoints=checkpoints,
            budget=budget,
            search=search,
        )

    def end_workers(self) -> None:
        """End the workers after the search, so that other machines cannot disturb the rest."""
        self.executor.close()
        self.held.close()

    def close(self) -> None:
        """Release everything, the terminal first, so that it is restored whatever happens to the rest."""
        self.console.close()
        self.executor.close()
        with contextlib.suppress(OSError):
            self.log.close()
        self.page.close()
        self.tracking.close()


def _execute(
    setup: Setup,
    run: RunRecords,
    clock: Clock,
    hold: Hold,
    held: contextlib.ExitStack,
    changes: Mapping[str, Any] | None = None,
    code: OwnCode | None = None,
) -> dict[str, Any]:
    """Replay what the journal holds, continue the search, finish, and return the summary.

    `hold`: of its directory. `held`: its hardware. `changes`: those of a resume. `code`: that of the user's own
    classes, if it changes with this resume.
    """
    parts = _Parts.of(setup, run, clock, held)
    hold.describe = parts.presence.describe
    setup.evaluator.on_progress = watched(parts.log, parts.console.on_progress)
    try:
        ending = _search(setup, run, parts, changes, code)
        summary = _finish(setup, run, parts, ending)
    except KeyboardInterrupt:
        interrupts.end()
        with contextlib.suppress(OSError):
            write_tables(run.directory, parts.search.records, setup.space, setup.objective, setup.options.seed)
        raise
    finally:
        parts.close()
    hold.complete = True
    return summary


def _search(
    setup: Setup, run: RunRecords, parts: _Parts, changes: Mapping[str, Any] | None, code: OwnCode | None
) -> Ending:
    """Replay, continue the search, then train and test the winner; arguments as of `_execute`."""
    directory, search, console, budget, log = run.directory, parts.search, parts.console, parts.budget, parts.log
    # What a strategy of a user's class raises is no damage of the journal.
    own = is_users(innermost(setup.strategy))
    with contextlib.nullcontext() if own else journal.reject_invalid_events(directory / journal.NAME):
        replay(search, run)
    run.events.clear()
    finished = run.end is not None and run.end.complete and not changes
    if changes is not None and not finished:
        log.append(Resumed(changes=changes, code=recorded(directory, code)))
    parts.observers.on_start(budget.trials if budget else setup.options.trials, search.records, directory)
    if budget is not None:
        budget.begin()
    for line in (*startup_messages(setup, run), *look_at_data(setup.dataset, directory)):
        console.message(line)
    ending = search.run()
    parts.end_workers()
    if ending.complete and search.best is not None:
        Final(setup, directory, search, parts.checkpoints, log).run(run, console, budget)
        if setup.options.baseline:
            _train_baseline(setup, run, log, search, parts.observers)
        parts.checkpoints.clear()
    if not finished:
        log.append(Ended(reason=ending.reason, complete=ending.complete), fsync=True)
    return ending


def _finish(setup: Setup, run: RunRecords, parts: _Parts, ending: Ending) -> dict[str, Any]:
    """Write tables, notes and pictures, and notify the observers; RunError if the run has no result."""
    directory, summary = run.directory, write_results(setup, run)
    notes = setup.strategy.notes()
    if notes:
        write_json(directory / NOTES, finite(notes))
        write_changes(directory, notes)
    if setup.output.plots:
        from nasrun.reports.pictures import write_pictures

        write_pictures(run, summary, notes, setup.space, setup.objective)
        parts.page.on_finish(summary)
    if not ending.complete or parts.search.best is None:
        failed = f"no trial succeeded; the last: {parts.search.last_error}" if parts.search.records else ending.reason
        reason = failed if ending.complete else ending.reason
        raise RunError(f"{reason}; the run's files are in {directory}")
    parts.tracking.on_finish(summary)
    for line in result_warnings(read_overview(directory), summary):
        parts.console.message(f"warning: {line}")
    parts.console.on_finish(summary)
    return summary


def _train_baseline(setup: Setup, run: RunRecords, log: Journal, search: Search, observers: Observers) -> None:
    """Train a known network to compare the winner with, by what the journal holds now."""
    winner = search.winner
    if run.final is not None and winner is not None:
        Baseline(setup, run.directory, log, run.header.facts).run(winner, run, observers)


def _shared_weights(setup: Setup, log: Journal, directory: Path, trials: int) -> SharedWeights | None:
    """Trains and keeps the weights of an evaluator that shares them; None for any other."""
    if not isinstance(setup.evaluator, SharedEvaluator):
        return None
    return SharedWeights(setup.evaluator, setup.steered, log, directory, seed=setup.options.seed, trials=trials)


def write_results(setup: Benchmark, run: RunRecords) -> dict[str, Any]:
    """(Re)write the tables and summaries of a run directory from its records; returns the summary."""
    directory = run.directory
    write_tables(directory, run.trials, setup.space, setup.objective, setup.options.seed)
    write_shared(directory, run.shared)
    write_architecture(directory, run.shared, setup.space)
    return write_summary(run, setup.space, setup.objective)

"""`nasrun resume --salvage DIR`: resumes a run whose journal is damaged in the middle, from its intact part.

The damaged journal is kept as `journal.damaged-N.jsonl`. The new one holds the events before the damage, and the search
continues from there. Trials that it asks for again are measured again, unless the damaged journal holds, after the
damage, intact measurements of the same trial with the same proposal: a measurement depends on nothing else, so these
are reused. They are not reused if trials depend on other trials' weights (checkpoints that a search continues from,
shared weights): then the new journal ends where all of these are on disk.
"""

import contextlib
import itertools
import json
import os
import shutil
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from nasrun.checkpoints.store import CheckpointStore
from nasrun.config.build import Setup, build
from nasrun.core import Evaluator, Executor, Job, Measurement, Proposal, SharedEvaluator, WorkerState
from nasrun.core.environment import describe_environment
from nasrun.core.options import ConfigError, shell_command
from nasrun.hardware.inline import InlineExecutor
from nasrun.hardware.measuring import next_group
from nasrun.runner import shared_weights as shared
from nasrun.runner.clock import Clock, this_moment
from nasrun.runner.search import Search, SearchOptions
from nasrun.runner.time_budget import time_budget
from nasrun.storage import journal
from nasrun.storage.event_base import Event
from nasrun.storage.events import Asked, Measured, Resumed, RunStarted, SharedTrained, events_of
from nasrun.storage.journal import Line
from nasrun.storage.paths import find_paths
from nasrun.storage.records import Observer, RunLog, RunRecords, assemble
from nasrun.storage.run_directory import load_config

Memory = dict[tuple[int, int], tuple[Proposal, Measurement]]
"""By trial and repeat: a measurement, and the proposal that it belongs to."""


class Damaged(NamedTuple):
    """A journal that is damaged at `line` (from 1): the intact lines before it, and those after it."""

    line: int
    before: list[Line]
    behind: list[Line]

    def events(self, path: Path) -> list[Event]:
        """All intact events; JournalError, which names the `path`, if one is invalid."""
        return events_of([*self.before, *self.behind], path)


def inspect(path: Path) -> Damaged | None:
    """The intact part of a journal; None if nothing is damaged but its last line, which may be cut short."""
    lines = path.read_bytes().split(b"\n")
    last = len(lines) - 1 if lines[-1] else len(lines) - 2
    whole = [journal.parse(line) for line in lines]
    damage = next((number for number, line in enumerate(whole[: max(last, 0)]) if line is None), None)
    if damage is None:
        return None
    before, behind = whole[:damage], whole[damage + 1 :]
    return Damaged(damage + 1, [line for line in before if line], [line for line in behind if line])


def save_journal(directory: Path, chosen: Collection[str] = ()) -> None:
    """Repair the journal of a run, and keep the damaged one. `chosen`: as in `load_config`.

    ConfigError if nothing is damaged, or nothing can be saved. If the process is killed here, the damaged journal stays
    in place.
    """
    path = directory / journal.NAME
    damaged = inspect(path)
    if damaged is None:
        raise ConfigError(f"{path}: is not damaged; continue with: {shell_command('resume', directory)}")
    before = damaged.before or [_header(directory, damaged, chosen).to_json()]
    journal.check_format(before[0], path)
    run, behind = assemble(directory, before, keep_events=True), events_of(damaged.behind, path)
    setup = build(find_paths(load_config(directory, run.changes, chosen=chosen), run.header, directory))
    kept = _length(setup, run, behind)
    lost = [event for event in (*run.events[kept:], *behind) if isinstance(event, Resumed)]
    changes = {key: value for event in lost for key, value in event.changes.items()}
    aside = _set_aside(path)
    mark = Resumed(changes=changes, damaged={"line": damaged.line, "file": aside.name})
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("wb") as file:
        file.write(b"".join(map(journal.line_of, [*before[:kept], mark.to_json()])))
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def remarks(run: RunRecords) -> Iterator[str]:
    """Messages for the user: what was damaged, where the damaged journal is, and how many trials were kept."""
    for line, told, file in run.salvages:
        yield f"line {line} of the journal was damaged: kept {told} finished trials; the damaged journal is now {file}"


def recalling(executor: Executor, setup: Setup, run: RunRecords) -> Executor:
    """The executor; after a salvage one that reuses the damaged journal's measurements of the trials asked for."""
    memory: Memory = {}
    for salvage in run.salvages:
        path = run.directory / Path(salvage.file).name
        damaged = inspect(path)
        events = [] if damaged is None else damaged.events(path)
        if not _depends(setup, events):
            memory |= _memory(events)
    return _Recalling(executor, setup.evaluator, memory) if memory and setup.hardware.order == "proposal" else executor


class _Recalling(Executor):
    """Returns remembered measurements, group by group as they were measured. A group with a missing measurement is
    measured again as a whole, so that the same jobs train together as without the damage. After the last remembered
    trial it only passes jobs to the executor."""

    def __init__(self, executor: Executor, evaluator: Evaluator, memory: Memory) -> None:
        self._executor, self._evaluator, self._memory = executor, evaluator, memory
        self._last = max(trial for trial, _ in memory)
        self._queue: list[Job] = []

    def submit(self, jobs: Sequence[Job]) -> None:
        if self._memory:
            self._queue.extend(jobs)
        else:
            self._executor.submit(jobs)

    def wait(self) -> list[Measurement]:
        if self._queue and self._queue[0].trial.number > self._last:
            queue, self._queue, self._memory = self._queue, [], {}
            self._executor.submit(queue)
        if not self._queue:
            return self._executor.wait()
        group = next_group(self._evaluator, self._queue)
        found = [self._memory.get((job.trial.number, job.repeat)) for job in group]
        known = [entry[1] for entry, job in zip(found, group, strict=True) if entry and entry[0] == job.trial.proposal]
        self._queue = [job for job in self._queue if job not in group]
        if len(known) == len(group):
            return known
        self._executor.submit(group)
        return self._executor.wait()

    @property
    def free(self) -> int:
        return (0 if self._queue else 1) if self._memory else self._executor.free

    def at_work(self) -> Sequence[WorkerState]:
        return self._executor.at_work()

    def close(self) -> None:
        self._executor.close()


def _memory(events: Sequence[Event]) -> Memory:
    """The measurements of a damaged journal whose proposals are known too."""
    proposals: dict[int, Proposal] = {}
    memory: Memory = {}
    for event in events:
        match event:
            case Asked(first=int(first)):
                proposals.update(enumerate(event.proposals, first))
            case Measured(measurement=one) if one.trial in proposals:
                memory[one.trial, one.repeat] = (proposals[one.trial], one)
    return memory


def _depends(setup: Setup, events: Sequence[Event]) -> bool:
    """Whether trials depend on other trials' weights, so that no measurement can be reused alone."""
    asked = (proposal for event in events if isinstance(event, Asked) for proposal in event.proposals)
    warm = any(proposal.warm_start != "none" for proposal in asked)
    return warm or setup.strategy.uses_checkpoints or isinstance(setup.evaluator, SharedEvaluator)


def _length(setup: Setup, run: RunRecords, behind: Sequence[Event]) -> int:
    """The number of events before the damage that the search can continue from.

    Measurements that were made together belong together: the last ones may be a part of such a group, and do not count.
    If trials depend on other trials' weights, all those that are needed from there on must be on disk.
    """
    ends = [number for number, event in enumerate(run.events, 1) if not isinstance(event, Measured)]
    if not _depends(setup, [*run.events, *behind]):
        return ends[-1]
    log = RunLog(Path(os.devnull), run)
    store = CheckpointStore(run.directory, "none")
    search = Search(
        setup.strategy,
        InlineExecutor(setup.evaluator),
        log,
        Observer(),
        store,
        SearchOptions.of(setup),
        budget=time_budget(setup, Clock(setup.hardware.clock, this_moment()), log),
    )
    length, weights = 1, True
    for number, event in enumerate(run.events, 1):
        search.replay([event])
        if isinstance(event, SharedTrained):
            weights = (run.directory / shared.FOLDER / f"{event.version}.safetensors").is_file()
        if number in ends and weights and all(_there(search, store, trial) for trial in search.needed()):
            length = number
    with contextlib.suppress(OSError):
        log.close()
    return length


def _there(search: Search, store: CheckpointStore, trial: int) -> bool:
    """Whether all checkpoints of a trial are on disk."""
    record = search.records.get(trial)
    return record is not None and all(
        store.path(trial, m.repeat).is_file() for m in record.measurements if m.status == "ok"
    )


def _header(directory: Path, damaged: Damaged, chosen: Collection[str]) -> RunStarted:
    """The first event of a journal, from the files that were written together with it."""
    try:
        facts = json.loads((directory / "environment.json").read_text(encoding="utf-8"))
        environment = {name: facts.pop(name) for name in describe_environment()}
        choices = facts.pop("choices")
        recorded = {name: facts.pop(name) for name in ("data", "paths", "sweep") if name in facts}
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise ConfigError(
            f"{directory / journal.NAME}: line 1, which describes the run, is damaged, and environment.json does not "
            "describe it either: nothing can be saved; start the run again"
        ) from error
    config = load_config(directory, [], chosen=chosen)
    times = [event.time for event in events_of(damaged.behind, directory / journal.NAME) if event.time is not None]
    return RunStarted(
        nasrun=environment["nasrun"],
        seed=config.seed,
        trials=config.trials,
        environment=environment,
        facts=facts,
        choices=choices,
        **recorded,
        time=min(times, default=journal.now()),
    )


def _set_aside(path: Path) -> Path:
    """Give the journal a second name that no other file has."""
    for number in itertools.count(1):
        aside = path.with_name(f"{path.stem}.damaged-{number}{path.suffix}")
        if aside.exists():
            continue
        try:
            os.link(path, aside)
        except OSError:  # the file system has no links
            shutil.copy2(path, aside)
        return aside
    raise AssertionError("unreachable")

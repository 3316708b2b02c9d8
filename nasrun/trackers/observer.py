"""The layer between a run and its trackers, which protects the run from their errors."""

import contextlib
import hashlib
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from nasrun.core import Objective, SearchSpace
from nasrun.reports.summary import means
from nasrun.reports.tables import one_line
from nasrun.storage import journal
from nasrun.storage.events import RunStarted
from nasrun.storage.records import Observer, TrialRecord
from nasrun.trackers.base import TrackedRun, TrackedTrial, Tracker

FIRST_SECONDS, WAIT_SECONDS = 5.0, 1.0
SHARE = 50
"""Trials are passed on at most once per second, and use at most 1/`SHARE` of the time during the search. Runs shorter
than `FIRST_SECONDS` are passed on at their end, after the time of the run is measured: loading a tracker takes seconds,
a search in a table less than one."""


class Tracking(Observer):
    """Passes the events of a search to a tracker, with many trials per call if they are fast.

    The first exception of the tracker is reported in one line (`say`); after that, nothing more is passed on.
    """

    def __init__(
        self,
        name: str,
        tracker: Tracker,
        header: RunStarted,
        config: Mapping[str, object],
        space: SearchSpace,
        objective: Objective,
        say: Callable[[str], None],
        changeable: Collection[str] = (),
    ) -> None:
        """`header`: the first event of the journal. `changeable`: keys of `config` that a resume may change."""
        self._name, self._tracker, self._say = name, tracker, say
        self._header, self._space, self._objective = header, space, objective
        self._config = {
            key: value for key, value in config.items() if not {key, key.partition(".")[0]} & {*changeable, "vars"}
        }
        self._going = self._begun = False
        self._directory = Path()
        self._before: list[TrialRecord] = []
        self._waiting: list[tuple[TrialRecord, float]] = []
        self._due = 0.0
        self._best = -float("inf")
        self._best_value: float | None = None

    def on_start(self, trials: int, records: Mapping[int, TrialRecord], directory: Path) -> None:
        self._going = self._tracker.active
        self._directory, self._before = directory, list(records.values())
        self._due = time.monotonic() + FIRST_SECONDS

    def on_trial_complete(self, record: TrialRecord, best: TrialRecord | None) -> None:
        if not self._going:
            return
        self._waiting.append((record, journal.now()))
        if time.monotonic() >= self._due:
            self._hand_on()

    def on_finish(self, summary: Mapping[str, object]) -> None:
        self._hand_on()
        self._attempt(lambda: self._tracker.finish(summary))

    def close(self) -> None:
        if self._begun:  # otherwise the run was stopped earlier, and a resume starts with all trials
            self._hand_on()
            self._attempt(self._tracker.close)
        self._going = False

    def _hand_on(self) -> None:
        if not self._begun:
            self._begun = True
            self._attempt(self._begin)
        start = time.monotonic()
        waiting, self._waiting = self._waiting, []
        if waiting:
            self._attempt(lambda: self._tracker.log([self._trial(record, when) for record, when in waiting]))
        self._due = time.monotonic() + max(WAIT_SECONDS, SHARE * (time.monotonic() - start))

    def _begin(self) -> None:
        events = journal.lines_of(self._directory / journal.NAME) if self._before else ()
        told = {event["trial"]: float(event["time"]) for event in events if event["event"] == "tell"}
        run = tracked_run(self._directory, self._header, self._config, self._objective)
        self._tracker.begin(run, [self._trial(record, told[record.trial.number]) for record in self._before])

    def _attempt(self, action: Callable[[], None]) -> None:
        if not self._going:
            return
        try:
            action()
        except Exception as error:
            self._going = False
            self._waiting.clear()
            reason = f"{type(error).__name__}: {one_line(str(error))}"[:300]
            self._say(f"tracker {self._name} failed and is disabled; the run continues ({reason})")
            with contextlib.suppress(Exception):
                self._tracker.close()

    def _trial(self, record: TrialRecord, when: float) -> TrackedTrial:
        score = self._objective.score(record.measurements)
        improved = score > self._best
        if improved:
            self._best, self._best_value = score, record.mean(self._objective.metric)
        proposal = record.trial.proposal
        settings: dict[str, object] = {f"token_{n:02d}": token for n, token in enumerate(proposal.genome)}
        settings |= {f"{name}_factor": one for name, one in self._space.setting_factors(proposal.genome).items()}
        settings |= {**self._space.hparams(proposal.genome), **proposal.hparams, "origin": proposal.origin}
        return TrackedTrial(
            record,
            self._space.format(proposal.genome),
            means(record),
            {name: v if isinstance(v, str | int | float | bool) else str(v) for name, v in settings.items()},
            self._best_value,
            improved,
            when,
            self._objective.metric,
        )


def tracked_run(directory: Path, header: RunStarted, config: Mapping[str, object], objective: Objective) -> TrackedRun:
    """The description of a run from the first event of its journal."""
    sweep = header.sweep
    folder, name, path = directory.absolute().parent, None, directory.absolute()
    if sweep is not None:
        name = str(sweep["folder"])
        folder = next((above for above in path.parents if above.name == Path(name).name), folder)
    return TrackedRun(
        directory,
        hashlib.sha256(journal.line_of(header.line or header.to_json())).hexdigest()[:16],
        name,
        None if sweep is None else sweep["job"],
        folder,
        str(header.choices.get("strategy") or config.get("strategy._target_", "")),
        int(header.seed),
        config,
        objective,
        header.time or 0.0,
    )

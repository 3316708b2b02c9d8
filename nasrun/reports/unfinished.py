"""The state of an unfinished run in `report.html`: its time, and for how long the page reloads."""

import time
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from nasrun.core.options import shell_command
from nasrun.core.words import counted
from nasrun.storage.journal import now
from nasrun.storage.lock import NAME, holder_of
from nasrun.storage.records import RunRecords

LEAST_STALE = 600.0
"""Minimum seconds without a new page after which a page counts as no longer updated."""
PATIENCE = 5
"""The same as a multiple of the longest recent trial time plus the time between two pages."""
UNKNOWN = 60.0
"""Assumed seconds until a new page if the run itself writes it."""
RECENT = 50
"""Number of recent trials that are considered."""


class Unfinished(NamedTuple):
    """An unfinished run. `trials`: total number; 0 if not known. `every`: seconds until the next page is expected; None
    if nothing writes one, because the run was stopped."""

    trials: int
    every: float | None


def unfinished_of(run: RunRecords) -> Unfinished | None:
    """The state of an unfinished run by its directory; None for a finished run."""
    holder = holder_of(run.directory / NAME)
    if run.end is not None and not holder.alive:
        return None
    planned = 0 if run.header.plan is not None else dict(run.changes).get("trials", run.header.trials)
    said = (holder.says or {}).get("trials", planned) if holder.alive else planned
    return Unfinished(said if isinstance(said, int) else 0, UNKNOWN if holder.alive else None)


def describe_unfinished(run: RunRecords, unfinished: Unfinished) -> Mapping[str, Any]:
    """The same for the template."""
    count, every = len(run.trials), unfinished.every
    moment = (run.last_time if every is None else None) or now()
    verb = "resume" if every is None else "status"
    return {
        "told": f"{count:,} of {counted(unfinished.trials, 'trial')}" if unfinished.trials else counted(count, "trial"),
        "as_of": time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(moment)),
        "command": shell_command(verb, run.directory.absolute()),
        "written": moment,
        "every": every,
        "stale": None if every is None else stale_after(run.told_at, every),
    }


def stale_after(told_at: Sequence[float], every: float) -> float:
    """Seconds after which a page no longer reloads: no trial took nearly as long. `told_at`: times of completed trials;
    `every`: seconds between two pages."""
    longest = max((later - earlier for earlier, later in pairwise([0.0, *told_at][-RECENT:])), default=0.0)
    return max(LEAST_STALE, PATIENCE * (longest + every))

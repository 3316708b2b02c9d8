"""What `report.html` says of a run that is not over: as of when it is, and for how long it is loaded again."""

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
"""Seconds without a new page after which a page counts as one that nobody writes any more, at least."""
PATIENCE = 5
"""The same in the longest time that a trial took lately, with that between two pages."""
UNKNOWN = 60.0
"""Seconds until a new page, where the run itself writes it and not whoever asks."""
RECENT = 50
"""Trials by which that is told."""


class Going(NamedTuple):
    """A run that is not over. `trials`: in all; 0 where that is not known. `every`: seconds until a new page is to be
    expected; None where nobody writes one, since the run was stopped."""

    trials: int
    every: float | None


def going_of(run: RunRecords) -> Going | None:
    """What a run directory tells of that; None of a run that is over."""
    holder = holder_of(run.directory / NAME)
    if run.end is not None and not holder.alive:
        return None
    planned = 0 if run.header.plan is not None else dict(run.changes).get("trials", run.header.trials)
    said = (holder.says or {}).get("trials", planned) if holder.alive else planned
    return Going(said if isinstance(said, int) else 0, UNKNOWN if holder.alive else None)


def describe_going(run: RunRecords, going: Going) -> Mapping[str, Any]:
    """The same for the template."""
    count, every = len(run.trials), going.every
    moment = (run.last_time if every is None else None) or now()
    verb = "resume" if every is None else "status"
    return {
        "told": f"{count:,} of {counted(going.trials, 'trial')}" if going.trials else counted(count, "trial"),
        "as_of": time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(moment)),
        "command": shell_command(verb, run.directory.absolute()),
        "written": moment,
        "every": every,
        "stale": None if every is None else stale_after(run.told_at, every),
    }


def stale_after(told_at: Sequence[float], every: float) -> float:
    """Seconds after which a page is not loaded again: no trial took nearly as long. `told_at`: when trials were told;
    `every`: seconds between two pages."""
    longest = max((later - earlier for earlier, later in pairwise([0.0, *told_at][-RECENT:])), default=0.0)
    return max(LEAST_STALE, PATIENCE * (longest + every))

"""The keys of a config that do not belong to a config group."""

from dataclasses import dataclass
from typing import Annotated, Literal

from nasrun.config.constraints import ConstraintOptions
from nasrun.config.objective import ObjectiveOptions
from nasrun.config.prescreen import PrescreenOptions
from nasrun.core.durations import parse_duration
from nasrun.core.options import Above, AtLeast, Positive


@dataclass(kw_only=True, frozen=True)
class OutputOptions:
    """What a run displays and keeps. These options do not affect the search."""

    console: Literal["auto", "live", "plain", "none"] = "auto"
    keep: Literal["best", "all", "none"] = "best"
    keep_count: Positive = 1
    limit_mb: Annotated[float, Above(0)] = 1000.0
    plots: bool = True
    refresh: Annotated[float, Above(0)] | None = 10.0


@dataclass(kw_only=True, frozen=True)
class RunOptions:
    """The top-level keys that do not belong to a config group."""

    seed: Annotated[int, AtLeast(0)] = 0
    trials: Positive = 24
    time: str | int | float | None = None
    patience_trials: Positive | None = None
    max_failures: Positive | None = 10
    baseline: bool = False
    deduplicate: Literal["reuse", "resample", "never"] = "reuse"
    resume: bool = False
    changed_code: bool = False
    dry_run: bool = False
    debug: bool = False

    @property
    def seconds(self) -> float | None:
        """The time budget in seconds; None if trials and epochs determine the length of a run."""
        return None if self.time is None else parse_duration(str(self.time))


SECTIONS: dict[str, type] = {
    "objective": ObjectiveOptions,
    "constraints": ConstraintOptions,
    "prescreen": PrescreenOptions,
    "output": OutputOptions,
}
"""Sections that are not config groups, with their schemas."""

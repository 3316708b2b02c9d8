"""The options of a comparison besides its groups: the point at which runs are compared, the test, and the reference."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from nasrun.core.options import ConfigError
from nasrun.core.words import counted
from nasrun.reports.compare.read import ComparedRun

Unit = Literal["trials", "seconds", "epochs"]
TestName = Literal["permutation", "wilcoxon", "mannwhitney"]
TESTS: dict[TestName, str] = {
    "permutation": "two-sided paired permutation test over common seeds",
    "wilcoxon": "two-sided Wilcoxon signed-rank test over common seeds",
    "mannwhitney": "two-sided Mann-Whitney U test over all seeds of both groups",
}
"""Descriptions of the tests of pairs."""


def is_share(metric: str, values: np.ndarray) -> bool:
    """Whether all values of a metric, except NaN, are shares, which are shown in percent. A user's own tables may
    already hold percent."""
    return metric.endswith("accuracy") and bool(np.nanmax(np.abs(values), initial=0.0) <= 1)


class Cut(NamedTuple):
    """A point at which runs are compared: after some number of trials, seconds or epochs."""

    unit: Unit
    value: float

    def __str__(self) -> str:
        return f"{self.value:,g} {self.unit}"

    @property
    def suffix(self) -> str:
        """The suffix of a measure's name."""
        return f"_at_{self.value:g}_{self.unit}"

    def trials(self, run: ComparedRun) -> int:
        """Number of a run's trials that were completed at this point."""
        if self.unit == "trials":
            return int(min(self.value, len(run.values)))
        clock = run.seconds if self.unit == "seconds" else run.epochs
        assert clock is not None
        return int(np.searchsorted(clock, self.value, side="right"))


@dataclass(frozen=True)
class Question:
    """`cuts`: each has a table of its own; none: the end of the runs. `reference`: the group that all others are tested
    against, None: all pairs. `target`: a value of the objective; the time to reach it is reported."""

    cuts: Sequence[Cut] = ()
    reference: str | None = None
    test: TestName = "permutation"
    target: float | None = None

    def check(self, groups: Sequence[str], runs: Sequence[ComparedRun]) -> None:
        """ConfigError if it names a group that does not exist, or asks for something that the runs did not record."""
        if self.reference is not None and self.reference not in groups:
            raise ConfigError(f"reference={self.reference}: no such group; expected one of {', '.join(groups)}")
        metric, values = runs[0].objective.metric, np.concatenate([run.values for run in runs])
        if self.target is not None and self.target > 1 and is_share(metric, values):
            told = f"{metric} is a share between 0 and 1; e.g. target={self.target / 100:g}"
            raise ConfigError(f"target={self.target:g}: {told}")
        for cut in self.cuts:
            word = "at" if cut.unit == "trials" else cut.unit
            if cut.unit == "seconds" and not all(run.timed for run in runs):
                raise ConfigError(f"seconds={cut.value:g}: the table holds no training times; cut by at=TRIALS")
            if cut.unit == "epochs" and any(run.epochs is None for run in runs):
                raise ConfigError(f"epochs={cut.value:g}: the epochs of the trials are not recorded; cut by at=TRIALS")
            if any(not cut.trials(run) for run in runs):
                raise ConfigError(f"{word}={cut.value:g}: not every run has a trial by then; use a larger value")
            if cut.unit == "trials" and cut.value > max(len(run.values) for run in runs):
                longest = max(len(run.values) for run in runs)
                raise ConfigError(f"at={cut.value:g}: the longest run has {counted(longest, 'trial')}; use fewer")


PLAIN = Question()
"""The default: the end of the runs, all pairs, permutation tests."""


def p_value(test: TestName, first: np.ndarray, second: np.ndarray) -> float:
    """The p-value of one of scipy's tests; ConfigError if scipy is not installed. 1 for equal values."""
    try:
        from scipy import stats
    except ImportError:
        raise ConfigError(f"test={test}: needs scipy; pip install 'nasrun[stats]', or test=permutation") from None
    if test == "wilcoxon":
        return float(stats.wilcoxon(first, second).pvalue) if (first != second).any() else 1.0
    return float(stats.mannwhitneyu(first, second).pvalue) if len({*first.tolist(), *second.tolist()}) > 1 else 1.0

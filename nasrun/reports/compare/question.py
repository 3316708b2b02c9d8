"""What is asked of a comparison besides its groups: after what the runs are compared, by which test, and with whom."""

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
"""The tests of pairs, in words."""


def is_share(metric: str, values: np.ndarray) -> bool:
    """Whether all values of a metric, NaN left out, are shares: they are shown in percent. Tables of one's own may hold
    percent already."""
    return metric.endswith("accuracy") and bool(np.nanmax(np.abs(values), initial=0.0) <= 1)


class Cut(NamedTuple):
    """A point at which runs are compared: after so many trials, seconds or epochs."""

    unit: Unit
    value: float

    def __str__(self) -> str:
        return f"{self.value:,g} {self.unit}"

    @property
    def suffix(self) -> str:
        """What is added to the name of a measure."""
        return f"_at_{self.value:g}_{self.unit}"

    def trials(self, run: ComparedRun) -> int:
        """How many trials of a run were told by then."""
        if self.unit == "trials":
            return int(min(self.value, len(run.values)))
        clock = run.seconds if self.unit == "seconds" else run.epochs
        assert clock is not None
        return int(np.searchsorted(clock, self.value, side="right"))


@dataclass(frozen=True)
class Question:
    """`cuts`: each has a table of its own; none: the end of the runs. `reference`: the group that all others are tested
    against, None: all pairs. `target`: a value of the objective whose time is told."""

    cuts: Sequence[Cut] = ()
    reference: str | None = None
    test: TestName = "permutation"
    target: float | None = None

    def check(self, groups: Sequence[str], runs: Sequence[ComparedRun]) -> None:
        """ConfigError where it asks for a group that there is not, or for what the runs cannot tell."""
        if self.reference is not None and self.reference not in groups:
            raise ConfigError(f"reference={self.reference}: no such group; there is {', '.join(groups)}")
        metric, values = runs[0].objective.metric, np.concatenate([run.values for run in runs])
        if self.target is not None and self.target > 1 and is_share(metric, values):
            told = f"{metric} is a share between 0 and 1; e.g. target={self.target / 100:g}"
            raise ConfigError(f"target={self.target:g}: {told}")
        for cut in self.cuts:
            word = "at" if cut.unit == "trials" else cut.unit
            if cut.unit == "seconds" and not all(run.timed for run in runs):
                raise ConfigError(f"seconds={cut.value:g}: the table holds no training times; cut by at=TRIALS")
            if cut.unit == "epochs" and any(run.epochs is None for run in runs):
                raise ConfigError(f"epochs={cut.value:g}: the epochs of the trials are not on record; cut by at=TRIALS")
            if any(not cut.trials(run) for run in runs):
                raise ConfigError(f"{word}={cut.value:g}: not every run has a trial by then; choose more")
            if cut.unit == "trials" and cut.value > max(len(run.values) for run in runs):
                longest = max(len(run.values) for run in runs)
                raise ConfigError(f"at={cut.value:g}: the longest run has {counted(longest, 'trial')}; choose fewer")


PLAIN = Question()
"""The end of the runs, all pairs, permutation tests."""


def p_value(test: TestName, first: np.ndarray, second: np.ndarray) -> float:
    """The p-value of a test that scipy has; ConfigError where scipy is not installed. Equal values have 1."""
    try:
        from scipy import stats
    except ImportError:
        raise ConfigError(f"test={test}: needs scipy; pip install 'nasrun[stats]', or test=permutation") from None
    if test == "wilcoxon":
        return float(stats.wilcoxon(first, second).pvalue) if (first != second).any() else 1.0
    return float(stats.mannwhitneyu(first, second).pvalue) if len({*first.tolist(), *second.tolist()}) > 1 else 1.0

"""The ask-and-tell interface, for programs with their own search loop."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from nasrun.api.arguments import finite, given_of, keys_in, refuse_beside, refuse_twice, words_of
from nasrun.config.compose import Composer, task_config
from nasrun.config.hydra_scope import composing_alone
from nasrun.config.own_parts import check_space, check_strategy
from nasrun.config.search_space import space_of
from nasrun.config.sections import create
from nasrun.core import Measurement, Objective, Proposal, SearchSpace, Strategy, Trial, seeding
from nasrun.core.options import ConfigError, check_value, plain, show
from nasrun.datasets.base import Seed
from nasrun.strategies.checked import checked
from nasrun.strategies.wrappers import PATIENCE, Deduplicate

SCORE = "score"


def _numbers(trial: Trial, metrics: Any) -> dict[str, float]:
    """Checked metrics by name; ValueError if they are invalid, or if one has the name of the score."""
    if not isinstance(metrics, Mapping) or SCORE in metrics:
        raise ValueError(f"trial {trial.number}: expected metrics by name, none of them {SCORE}; got {show(metrics)}")
    return {str(name): finite(value, f"trial {trial.number}: {name}") for name, value in metrics.items()}


def _whole(value: Any) -> Any:
    """Whole numbers of numpy as Python's; anything else as it is."""
    return int(value) if isinstance(value, np.integer) else value


class AskTell:
    """A strategy on a search space, which proposes architectures and is told their scores.

    ```python
    loop = nasrun.AskTell("nasbench201", "aging_evolution", seed=1)
    for _ in range(100):
        [trial] = loop.ask()
        loop.tell(trial, my_accuracy(loop.space.format(trial.proposal.genome)))
    loop.best
    ```

    The same seed and scores always give the same proposals. A repeated architecture is not returned again: the strategy
    is told its earlier score.
    """

    space: SearchSpace
    """The search space: `format`, `parse`, `build` and `cost` of genomes."""
    objective: Objective
    """The name and direction of the score."""

    def __init__(
        self,
        search_space: Any,
        strategy: Any,
        overrides: Sequence[str] = (),
        *,
        mode: Literal["max", "min"] = "max",
        seed: int = 0,
    ) -> None:
        """Create the space and the strategy.

        Args:
            search_space: the name of an option, or a class, object or function, as for `nasrun.run`.
            strategy: the same.
            overrides: further `key=value` words of these two.
            mode: whether a higher (`max`) or a lower score (`min`) is better.
            seed: seed of the strategy's random generator.

        Raises:
            ConfigError: there is no such option, or a value is not allowed.
        """
        named = {"search_space": search_space, "strategy": strategy}
        seed = check_value(Seed, _whole(seed), "seed")
        mode = check_value(Literal["max", "min"], mode, "mode")
        chosen = [f"{group}={part}" for group, part in named.items() if isinstance(part, str)]
        given = {group: given_of(group, part) for group, part in named.items() if not isinstance(part, str)}
        words = words_of(overrides)
        for key in keys_in(words):
            if key.partition(".")[0] not in named:
                raise ConfigError(f"{key}: not used by AskTell; expected keys of search_space and strategy")
        refuse_beside(keys_in(words), given)
        refuse_twice([*chosen, *words])
        with composing_alone():
            content = plain(task_config(Composer().compose([*chosen, *words])))
        content |= {group: one.section for group, one in given.items()}
        self.objective = Objective(SCORE, mode)
        self.space: SearchSpace = space_of(content)
        check_space(self.space, None)
        rng = seeding.generator(seed, seeding.Purpose.STRATEGY)
        inner = create(content, "strategy", Strategy, self.space, self.objective, rng)  # type: ignore[type-abstract]
        check_strategy(inner)
        if inner.follows_derived:
            raise ConfigError(f"strategy={show(strategy)}: proposes what an evaluator derives, and AskTell has none")
        self._strategy = Deduplicate(checked(inner, self.space), self.space, "reuse")
        self._asked: list[Trial] = []
        self._measured: dict[int, Measurement] = {}
        self._duplicates: list[Trial] = []
        self._repeated = 0

    def ask(self, n: int = 1) -> list[Trial]:
        """Return the trials to evaluate next: `trial.proposal.genome` is the architecture, `trial.number` counts all
        trials.

        Args:
            n: maximum number of trials.

        Returns:
            Up to `n` trials; fewer, or none, if the strategy is done, needs the results of other trials first, or
            proposed 1,000 known architectures in a row, as in a small space.

        Raises:
            ValueError: `n` is not an integer, or is negative, or a strategy of your own proposed something invalid.
        """
        n = _whole(n)
        if not isinstance(n, int) or n < 0:
            raise ValueError(f"n={show(n)}: expected a whole number from 0 on")
        fresh: list[Trial] = []
        while len(fresh) < n and not self.done:
            proposals = self._strategy.ask(n - len(fresh))
            if not proposals:
                break
            for proposal in proposals:
                trial = self._numbered(proposal)
                (fresh if proposal.reuse_of is None else self._duplicates).append(trial)
                self._repeated = 0 if proposal.reuse_of is None else self._repeated + 1
            self._tell_duplicates()
        return fresh

    def tell(self, trial: Trial, score: float | None, metrics: Mapping[str, float] = {}) -> None:
        """Report the result of a trial.

        Args:
            trial: a trial returned by `ask`.
            score: a finite number; None: the trial failed.
            metrics: further numbers by name, stored with the score.

        Raises:
            ValueError: the trial was not returned by `ask` or was already told, or a number is not finite.
        """
        if not isinstance(trial, Trial):
            raise ValueError(f"{show(trial)}: expected a trial returned by ask")
        if not isinstance(trial.number, int) or not 0 <= trial.number < len(self._asked):
            raise ValueError(f"trial {show(trial.number)}: was not asked for")
        if self._asked[trial.number] != trial:
            raise ValueError(f"trial {trial.number}: was not asked for")
        if trial.number in self._measured:
            raise ValueError(f"trial {trial.number}: was told already")
        if score is None:
            self._take(trial, Measurement(trial.number, 0, "failed", {}, "failed"))
        else:
            told = finite(score, f"trial {trial.number}: the score", "; tell None if it failed")
            self._take(trial, Measurement(trial.number, 0, "ok", {**_numbers(trial, metrics), SCORE: told}))
        self._tell_duplicates()

    @property
    def best(self) -> Trial | None:
        """The first trial with the best score so far; None before one succeeded."""
        ranked = [
            (self.objective.score([one]), -number) for number, one in self._measured.items() if one.status == "ok"
        ]
        return self._asked[-max(ranked)[1]] if ranked else None

    @property
    def scores(self) -> dict[int, float]:
        """The scores by trial number, including duplicates."""
        return {number: one.metrics[SCORE] for number, one in self._measured.items() if one.status == "ok"}

    @property
    def done(self) -> bool:
        """Whether the strategy will make no more proposals, or proposed nothing new 1,000 times in a row."""
        return self._strategy.done or self._repeated >= PATIENCE

    def _numbered(self, proposal: Proposal) -> Trial:
        self._asked.append(Trial(len(self._asked), proposal))
        return self._asked[-1]

    def _take(self, trial: Trial, measurement: Measurement) -> None:
        self._measured[trial.number] = measurement
        self._strategy.tell(trial, [measurement])

    def _tell_duplicates(self) -> None:
        """Tell the strategy the results of duplicates of told trials."""
        for trial in [one for one in self._duplicates if one.proposal.reuse_of in self._measured]:
            self._duplicates.remove(trial)
            original = self._measured[int(trial.proposal.reuse_of or 0)]
            self._take(trial, original._replace(trial=trial.number))

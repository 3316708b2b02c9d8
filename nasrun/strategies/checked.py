"""Checks what a strategy answers, since it may be a user's own."""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, get_args

import numpy as np

from nasrun.core import Genome, Measurement, Proposal, SearchSpace, Strategy, StrategyWrapper, Trial
from nasrun.core.answers import AnswerError, innermost, is_json, is_users, lines
from nasrun.core.options import brief, first_line
from nasrun.core.types import ORIGIN_RULE, WarmStart, is_origin

WARM_STARTS = get_args(WarmStart)
TOKENS = frozenset({int, str})


def checked(strategy: Strategy, space: SearchSpace) -> Strategy:
    """The strategy, with checks of its answers if it or its space is of a user's class.

    Innermost of the wrappers, because the others rely on valid proposals. The answers of nasrun's own are checked by
    its tests: to check large genomes takes longer than all else of a trial.
    """
    return Checked(strategy, space) if is_users(strategy) or is_users(innermost(space)) else strategy


class Checked(StrategyWrapper):
    """Passes on the answers of a strategy if they are valid; else AnswerError."""

    def __init__(self, inner: Strategy, space: SearchSpace) -> None:
        super().__init__(inner)
        own = None if is_users(inner) else type(innermost(space)).__name__
        part = "strategy" if own is None else f"search_space: {own}"
        self._space, self._what = space, f"{part}: {type(inner).__name__}.ask"
        self._name = f"strategy: {type(inner).__name__}"
        self._latest = -1

    def ask(self, n: int) -> list[Proposal]:
        proposals = self.inner.ask(n)
        if not isinstance(proposals, list):
            raise AnswerError(f"{self._what} returned {brief(proposals)}; expected a list of nasrun.Proposal")
        if len(proposals) > n:
            raise AnswerError(f"{self._what}({n}) returned {len(proposals)} proposals; expected at most {n}")
        for proposal in proposals:
            self._check(proposal)
        return proposals

    def tell(self, trial: Trial, measurements: Sequence[Measurement]) -> None:
        self._latest = max(self._latest, trial.number)
        self.inner.tell(trial, measurements)

    @property
    def done(self) -> bool:
        done: Any = self.inner.done
        if not isinstance(done, bool | np.bool_):
            raise AnswerError(f"{self._name}.done is {brief(done)}; expected a property that is True or False")
        return bool(done)

    def required_checkpoints(self) -> Collection[int]:
        numbers: Any = self.inner.required_checkpoints()
        if not isinstance(numbers, Collection) or not all(_is_whole(number, 0, self._latest) for number in numbers):
            returned = f"{self._name}.required_checkpoints returned {brief(numbers)}"
            raise AnswerError(f"{returned}; expected numbers of trials that it was told")
        return numbers

    def selected_trial(self) -> int | None:
        number = self.inner.selected_trial()
        if number is not None and not _is_whole(number, 0, self._latest):
            returned = f"{self._name}.selected_trial returned {brief(number)}"
            raise AnswerError(f"{returned}; expected the number of a trial that it was told, or None")
        return number

    def messages(self) -> Sequence[str]:
        return lines(self.inner.messages(), f"{self._name}.messages")

    def notes(self) -> Mapping[str, Any]:
        notes: Any = self.inner.notes()
        if not _is_json(notes, allow_nan=True):
            raise AnswerError(f"{self._name}.notes returned {brief(notes)}; expected a dict of JSON values")
        return notes  # type: ignore[no-any-return]

    def _check(self, proposal: Any) -> None:
        if not isinstance(proposal, Proposal):
            raise AnswerError(f"{self._what} returned [{brief(proposal)}]; expected a list of nasrun.Proposal")
        genome = proposal.genome
        plain = isinstance(genome, tuple) and TOKENS.issuperset(map(type, genome))  # the usual case, quickly
        if not plain and not (isinstance(genome, tuple) and all(isinstance(token, int | str) for token in genome)):
            raise self._wrong(proposal, "genome", "a tuple of int and str")
        self._validate(genome)
        if not is_origin(proposal.origin):
            raise self._wrong(proposal, "origin", ORIGIN_RULE)
        self._check_trials(proposal)
        if not _is_json(proposal.hparams):
            raise self._wrong(proposal, "hparams", "a mapping from names to finite numbers, text, lists, true or false")
        for name in ("budget", "horizon"):
            number = getattr(proposal, name)
            if number is not None and not _is_whole(number, 1):
                raise self._wrong(proposal, name, "epochs, a whole number from 1 on, or None")
        if not isinstance(proposal.warm_start, str) or proposal.warm_start not in WARM_STARTS:
            raise self._wrong(proposal, "warm_start", f"one of {', '.join(WARM_STARTS)}")
        if proposal.warm_start != "none" and proposal.parent is None:
            raise self._wrong(proposal, "parent", f"a trial to start from (warm_start={proposal.warm_start})")

    def _check_trials(self, proposal: Proposal) -> None:
        for name in ("parent", "reuse_of"):
            number = getattr(proposal, name)
            if number is not None and not _is_whole(number, 0, self._latest):
                raise self._wrong(proposal, name, "the number of a trial that the strategy was told, or None")
        if not isinstance(proposal.partners, tuple) or not all(
            _is_whole(number, 0, self._latest) for number in proposal.partners
        ):
            raise self._wrong(proposal, "partners", "a tuple of numbers of trials that the strategy was told")

    def _validate(self, genome: Genome) -> None:
        try:
            self._space.validate(genome)
        except Exception as error:  # a user's space may raise anything for a genome that is not its own
            raise AnswerError(f"{self._what} returned the genome {brief(genome)}: {first_line(error)}") from error

    def _wrong(self, proposal: Proposal, name: str, expected: str) -> AnswerError:
        return AnswerError(
            f"{self._what} returned a proposal with {name}={brief(getattr(proposal, name))}; expected {expected}"
        )


def _is_whole(value: Any, least: int, most: float = math.inf) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _is_json(value: Any, *, allow_nan: bool = False) -> bool:
    """Whether a file can hold a value, which must be a mapping with names, as JSON."""
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        return False
    return is_json(dict(value), allow_nan=allow_nan)

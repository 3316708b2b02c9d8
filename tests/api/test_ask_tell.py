"""Ask and tell by hand."""

import math

import numpy as np
import pytest

import nasrun
from nasrun.core import Proposal
from tests.api.parts import Sampler


def test_ask_and_tell_repeat_and_ask_for_nothing_twice() -> None:
    def search(seed: int) -> tuple[list[tuple[object, ...]], dict[int, float]]:
        loop = nasrun.AskTell(
            "nasbench201", "aging_evolution", ["strategy.population=5", "strategy.sample=2"], seed=seed
        )
        asked = []
        for number in range(60):
            for trial in loop.ask(2):
                asked.append(trial.proposal.genome)
                score = None if number % 7 == 3 else float(trial.proposal.genome.count("nor_conv_3x3"))
                loop.tell(trial, score)
        return asked, loop.scores

    asked, scores = search(1)
    assert search(1) == (asked, scores)
    assert search(2) != (asked, scores)
    assert len(set(asked)) == len(asked)


def test_ask_and_tell_end_where_only_known_architectures_are_proposed() -> None:
    words = ["search_space.min_depth=1", "search_space.max_depth=1", "search_space.widths=[4,8]"]
    loop = nasrun.AskTell("mlp", "random", words)
    known = set()
    while trials := loop.ask():
        for trial in trials:
            known.add(trial.proposal.genome)
            loop.tell(trial, 1.0)
    assert loop.done
    assert len(known) == 2
    assert loop.ask() == []


def test_ask_and_tell_refuse_what_makes_no_sense() -> None:
    loop = nasrun.AskTell("nasbench201", "random")
    [trial] = loop.ask()
    assert loop.best is None
    with pytest.raises(ValueError, match="the score is nan"):
        loop.tell(trial, math.nan)
    loop.tell(trial, 0.5, {"seconds": 3.0})
    assert loop.best == trial
    with pytest.raises(ValueError, match="told already"):
        loop.tell(trial, 0.5)
    with pytest.raises(ValueError, match="was not asked for"):
        loop.tell(nasrun.Trial(99, Proposal(())), 0.5)
    [trial] = loop.ask()
    for score in ("0.5", np.array([0.5, 1]), [], math.inf):
        with pytest.raises(ValueError, match=r"^trial 1: the score is .*; expected a finite number; tell None if"):
            loop.tell(trial, score)  # type: ignore[arg-type]
    for metrics in ({"seconds": "3"}, {"score": 1.0}, 3):
        with pytest.raises(ValueError, match=r"^trial 1: (seconds is|expected metrics by name, none of them score)"):
            loop.tell(trial, 0.5, metrics)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^1: expected a trial returned by ask"):
        loop.tell(1, 0.5)  # type: ignore[arg-type]
    for count in (-1, "2", 1.5):
        with pytest.raises(ValueError, match="expected a whole number from 0 on"):
            loop.ask(count)  # type: ignore[arg-type]
    loop.tell(trial, np.float32(0.25), {"seconds": 3})
    assert loop.scores == {0: 0.5, 1: 0.25}
    with pytest.raises(nasrun.ConfigError, match=r"^trials: not used by AskTell"):
        nasrun.AskTell("nasbench201", "random", ["trials=5"])
    with pytest.raises(nasrun.ConfigError, match=r"^strategy\.steps: not used"):
        nasrun.AskTell("nasbench201", Sampler, ["strategy.steps=5"])
    with pytest.raises(nasrun.ConfigError, match=r"^strategy: given twice, as random and as grid"):
        nasrun.AskTell("nasbench201", "random", ["strategy=grid"])
    for key, value in (("mode", "maximum"), ("seed", -1), ("seed", "a")):
        with pytest.raises(nasrun.ConfigError, match=f"^{key}={value}: "):
            nasrun.AskTell("nasbench201", "random", **{key: value})  # type: ignore[arg-type]

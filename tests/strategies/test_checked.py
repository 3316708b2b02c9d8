"""What strategies may answer."""

from typing import Any

import numpy as np
import pytest

from nasrun.core import Genome, Measurement, Proposal, Strategy, Trial
from nasrun.core.answers import AnswerError
from nasrun.spaces.nasbench201.space import NASBench201
from nasrun.strategies.checked import Checked

SPACE = NASBench201()
GENOME: Genome = SPACE.sample(np.random.default_rng(0))


class Answering(Strategy):
    """Answers what it is made with."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer

    def ask(self, n: int) -> list[Proposal]:
        return self._answer

    def tell(self, trial: Trial, measurements: object) -> None:
        pass


def checked(answer: Any) -> Checked:
    return Checked(Answering(answer), SPACE)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (None, "returned None; expected a list of nasrun.Proposal"),
        ((Proposal(GENOME),), r"returned \(Proposal.*; expected a list of nasrun.Proposal"),
        ([GENOME], r"returned \[\('.*; expected a list of nasrun.Proposal"),
        ([Proposal(GENOME)] * 3, r"\(2\) returned 3 proposals; expected at most 2"),
        ([Proposal(list(GENOME))], r"with genome=\['.*; expected a tuple of int and str"),  # type: ignore[arg-type]
        ([Proposal((np.int64(1),) * 6)], "with genome=.*; expected a tuple of int and str"),
        ([Proposal(GENOME[:-1])], "returned the genome .*: "),
        ([Proposal(("conv",) * 6)], "returned the genome .*: token 0 .*: expected one of none, .*; got 'conv'"),
        ([Proposal(GENOME, parent=3)], "with parent=3; expected the number of a trial"),
        ([Proposal(GENOME, parent=True)], "with parent=True; expected the number of a trial"),
        ([Proposal(GENOME, reuse_of=0)], "with reuse_of=0; expected the number of a trial"),
        ([Proposal(GENOME, partners=(3,))], r"with partners=\(3,\); expected a tuple of numbers of trials"),
        ([Proposal(GENOME, partners=3)], "with partners=3; expected a tuple of numbers of trials"),  # type: ignore[arg-type]
        ([Proposal(GENOME, warm_start="some")], "with warm_start='some'; expected one of none, continue"),
        ([Proposal(GENOME, warm_start="inherit")], "with parent=None; expected a trial to start from"),
        ([Proposal(GENOME, budget=0)], "with budget=0; expected epochs, a whole number from 1 on, or None"),
        ([Proposal(GENOME, horizon=1.5)], "with horizon=1.5; expected epochs"),  # type: ignore[arg-type]
        ([Proposal(GENOME, hparams=3)], "with hparams=3; expected a mapping"),  # type: ignore[arg-type]
        ([Proposal(GENOME, hparams={"lr": np.float32(0.1)})], "with hparams=.*; expected a mapping"),
        ([Proposal(GENOME, hparams={"lr": float("nan")})], "with hparams=.*; expected a mapping"),
        ([Proposal(GENOME, origin="a\tb")], "with origin='a.*; expected the operator that made it"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(answer: Any, says: str) -> None:
    with pytest.raises(AnswerError, match=rf"^strategy: Answering\.ask.*{says}") as caught:
        checked(answer).ask(2)
    assert len(str(caught.value)) < 250
    assert "\n" not in str(caught.value)


def test_valid_proposals_are_passed_on() -> None:
    answer = [Proposal(GENOME), Proposal(GENOME, {"lr": 0.1}, 3, 4, "continue", "climb", partners=(1,), horizon=9)]
    strategy = checked(answer)
    strategy.tell(Trial(4, answer[0]), [Measurement(4, 0, "ok", {"val_accuracy": 0.5})])
    assert strategy.ask(2) is answer
    assert checked([]).ask(2) == []


def told(**methods: Any) -> Checked:
    """A checked strategy that was told trial 4, and whose methods answer as given."""
    names = {
        name: property(lambda _, value=value: value) if name == "done" else (lambda _, value=value: value)
        for name, value in methods.items()
    }
    strategy = Checked(type("Mine", (Answering,), names)([]), SPACE)
    strategy.tell(Trial(4, Proposal(GENOME)), [])
    return strategy


@pytest.mark.parametrize(
    ("name", "answer", "says"),
    [
        ("messages", "one line", "returned 'one line'; expected a list of lines of text"),
        ("messages", [3], "returned .3.; expected a list of lines of text"),
        ("notes", None, "returned None; expected a dict of JSON values"),
        ("notes", {"best": np.float32(0.5)}, "returned .*; expected a dict of JSON values"),
        ("selected_trial", 5, "returned 5; expected the number of a trial that it was told, or None"),
        ("selected_trial", True, "returned True; expected the number of a trial"),
        ("required_checkpoints", None, "returned None; expected numbers of trials"),
        ("required_checkpoints", [4, 5], "returned .4, 5.; expected numbers of trials"),
    ],
)
def test_other_answers_that_are_wrong(name: str, answer: Any, says: str) -> None:
    with pytest.raises(AnswerError, match=rf"^strategy: Mine\.{name} {says}"):
        getattr(told(**{name: answer}), name)()


def test_done_is_a_property() -> None:
    method = type("Mine", (Answering,), {"done": lambda self: False})([])
    with pytest.raises(AnswerError, match=r"^strategy: Mine\.done is .*; expected a property that is True or False$"):
        _ = Checked(method, SPACE).done
    assert told(done=np.bool_(True)).done is True


def test_other_valid_answers() -> None:
    strategy = told(
        messages=["a\nline"], notes={"losses": [0.5, float("nan")]}, selected_trial=4, required_checkpoints={4}
    )
    assert strategy.messages() == ["a line"]
    assert list(strategy.notes()) == ["losses"]
    assert strategy.selected_trial() == 4
    assert strategy.required_checkpoints() == {4}

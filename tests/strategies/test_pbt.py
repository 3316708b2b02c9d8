"""Population-based training: who is replaced by whom, and how hyperparameters are explored."""

from typing import Any

import numpy as np
import pytest

from nasrun.core import Measurement, Objective, Proposal, Trial
from nasrun.spaces.mlp.space import Mlp
from nasrun.spaces.training_recipe.space import TrainingRecipe
from nasrun.strategies.pbt import Pbt
from tests.support import with_options

OPTIONS: dict[str, Any] = {"population": 8, "ready": 3, "quantile": 0.25, "lr": [0.001, 0.1]}


def pbt(seed: int = 0, space: Any = None, **options: Any) -> Pbt:
    return Pbt(space or Mlp(), Objective(), np.random.default_rng(seed), **{**OPTIONS, **options})


def generation(strategy: Pbt, first: int, scores: list[float | None]) -> list[Proposal]:
    """Ask for a generation and tell it, the last member first."""
    proposals = strategy.ask(len(scores))
    assert len(proposals) == len(scores)
    assert strategy.ask(1) == []
    for place in reversed(range(len(scores))):
        score, number = scores[place], first + place
        failed = Measurement(number, 0, "failed", error="no")
        told = failed if score is None else Measurement(number, 0, "ok", {"val_accuracy": score})
        strategy.tell(Trial(number, proposals[place]), [told])
    return proposals


SCORES: list[float | None] = [0.1, 0.9, 0.3, 0.8, 0.2, 0.5, 0.6, 0.4]


def test_the_worst_go_on_from_the_best() -> None:
    for seed in range(5):
        strategy = pbt(seed)
        first = generation(strategy, 0, SCORES)
        assert all(0.001 <= p.hparams["lr"] <= 0.1 for p in first)
        assert {(p.budget, p.parent, p.warm_start) for p in first} == {(3, None, "none")}
        second = generation(strategy, 8, SCORES)
        assert {(p.budget, p.warm_start) for p in second} == {(6, "continue")}
        for slot, proposal in enumerate(second):
            if slot in (0, 4):
                assert proposal.origin == "exploit"
                assert proposal.parent in (1, 3)
                donor = first[proposal.parent]  # type: ignore[index]
                assert proposal.genome == donor.genome
                assert proposal.hparams != donor.hparams
            else:
                assert proposal == first[slot]._replace(parent=slot, budget=6, warm_start="continue", origin="continue")


def test_hyperparameters_are_perturbed_or_drawn_anew_within_their_range() -> None:
    factors = set()
    for seed in range(40):
        strategy = pbt(seed, resample=0.0)
        first, second = generation(strategy, 0, SCORES), strategy.ask(8)
        for proposal in (second[0], second[4]):
            before = first[proposal.parent].hparams["lr"]  # type: ignore[index]
            ratio = proposal.hparams["lr"] / before
            if proposal.hparams["lr"] not in (0.001, 0.1):
                factors.add(round(ratio, 6))
    assert factors == {0.8, 1.2}
    drawn = []
    for seed in range(40):
        strategy = pbt(seed, resample=1.0)
        generation(strategy, 0, SCORES)
        drawn.append(np.log10(strategy.ask(8)[0].hparams["lr"]))
    assert -2.4 < np.mean(drawn) < -1.6, "uniform on the logarithmic scale"


def test_genes_of_a_recipe_are_explored() -> None:
    strategy = pbt(space=with_options(TrainingRecipe, widths=[4]), lr=None)
    first, second = generation(strategy, 0, SCORES), strategy.ask(8)
    for proposal in (second[0], second[4]):
        donor = first[proposal.parent]  # type: ignore[index]
        assert sum(a != b for a, b in zip(proposal.genome, donor.genome, strict=True)) == 1
    assert second[1].genome == first[1].genome


def test_failed_members_are_replaced_too() -> None:
    strategy = pbt()
    generation(strategy, 0, [0.5, None, None, None, 0.4, 0.3, 0.2, 0.1])
    second = strategy.ask(8)
    assert {second[slot].parent for slot in (1, 2, 3)} <= {0, 4}
    assert [second[slot].parent for slot in (4, 5, 6, 7)] == [4, 5, 6, 7]


def test_a_population_that_failed_as_a_whole_goes_on_from_before() -> None:
    strategy = pbt()
    generation(strategy, 0, SCORES)
    generation(strategy, 8, [None] * 8)
    third = strategy.ask(8)
    assert {p.parent for p in third} <= set(range(8))
    assert {p.budget for p in third} == {6}
    fresh = pbt()
    generation(fresh, 0, [None] * 8)
    assert {(p.parent, p.budget) for p in fresh.ask(8)} == {(None, 3)}


def test_checkpoints_that_are_needed() -> None:
    strategy = pbt()
    generation(strategy, 0, SCORES)
    needed = set(strategy.required_checkpoints())
    second = strategy.ask(8)
    assert needed >= {p.parent for p in second}
    strategy.tell(Trial(8, second[0]), [Measurement(8, 0, "ok", {"val_accuracy": 0.5})])
    assert 8 in strategy.required_checkpoints()
    assert 0 not in strategy.required_checkpoints()


def test_a_reused_result_is_recognised() -> None:
    strategy = pbt(population=2, quantile=0.5)
    first, second = strategy.ask(2)
    strategy.tell(Trial(0, first), [Measurement(0, 0, "ok", {"val_accuracy": 0.5})])
    strategy.tell(Trial(1, second._replace(reuse_of=0)), [Measurement(1, 0, "ok", {"val_accuracy": 0.4})])
    assert {p.parent for p in strategy.ask(2)} == {0}


def test_generations_end() -> None:
    strategy = pbt(generations=2)
    assert strategy.length == 16
    generation(strategy, 0, SCORES)
    assert not strategy.done
    generation(strategy, 8, SCORES)
    assert strategy.done
    assert strategy.ask(5) == []


@pytest.mark.parametrize(
    ("options", "text"),
    [({"lr": None}, "lr=null: nothing"), ({"lr": [0.1]}, "lr="), ({"lr": [0.1, 0.01]}, "lr=")],
)
def test_mistakes(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match="^" + text):
        pbt(**options)

"""MIHA's phases: what is proposed from what, which copy is taken, and what failures do."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from nasrun.core import Measurement, Objective, Proposal, Task, Trial
from nasrun.spaces.mlp.space import Mlp
from nasrun.spaces.training_recipe.space import TrainingRecipe
from nasrun.strategies.miha import Miha
from nasrun.strategies.wrappers import Constrain, Constraints, Deduplicate
from tests.support import with_options

OPTIONS = {"m": 10, "pop_size": 3, "n": 4, "k": 2, "cycles": 2}


def miha(seed: int = 0, **options: Any) -> Miha:
    space = with_options(TrainingRecipe, widths=[4, 4])
    return with_options(Miha, space, Objective(), np.random.default_rng(seed), **{**OPTIONS, **options})


class Run:
    """Gives a strategy the results that it expects, and numbers the trials."""

    def __init__(self, strategy: Miha) -> None:
        self.strategy, self.proposals = strategy, list[Proposal]()

    def ask(self, n: int = 99) -> list[Trial]:
        asked = self.strategy.ask(n)
        self.proposals += asked
        start = len(self.proposals) - len(asked)
        return [Trial(start + place, proposal) for place, proposal in enumerate(asked)]

    def tell(self, trial: Trial, losses: Sequence[float] | None, metric: str = "train_loss") -> None:
        if losses is None:
            self.strategy.tell(trial, [Measurement(trial.number, 0, "failed", error="no")])
            return
        history = [{"epoch": float(place), metric: loss} for place, loss in enumerate(losses)]
        self.strategy.tell(trial, [Measurement(trial.number, 0, "ok", {"val_accuracy": 0.5}, history=history)])

    def cycle(self, *losses: Sequence[float] | None) -> Trial:
        """Tell the copies, the last one first; returns the trial that comes after them."""
        for trial, found in reversed(list(zip(self.ask(), losses, strict=True))):
            self.tell(trial, found)
        [after] = self.ask()
        return after


def test_the_phases_of_a_whole_run() -> None:
    run = Run(miha())
    [first] = run.ask()
    assert first.proposal == Proposal(("adam", 32, "ReLU", "ReLU"), budget=10, origin="start")
    assert run.ask() == []
    run.tell(first, [2, 1])
    epochs = 10
    for _ in range(2):
        copies = run.ask(2) + run.ask(2)
        parent = copies[0].proposal.parent
        assert [trial.proposal.budget for trial in copies] == [epochs + 4] * 3
        assert {trial.proposal.parent for trial in copies} == {parent}
        assert {trial.proposal.warm_start for trial in copies} == {"continue"}
        assert not run.ask()
        for trial in copies:
            run.tell(trial, [2, 1])
        [after] = run.ask()
        assert (after.proposal.parent, after.proposal.budget) == (copies[0].number, epochs + 6), "the first of equals"
        assert after.proposal.genome == copies[0].proposal.genome
        run.tell(after, [1, 1])
        epochs += 6
    [last] = run.ask()
    assert (last.proposal.budget, last.proposal.origin) == (epochs + 10, "last")
    assert last.proposal.genome == after.proposal.genome
    assert not run.strategy.done
    run.tell(last, [1, 1])
    assert run.strategy.done
    assert run.strategy.selected_trial() == last.number == run.strategy.length - 1  # type: ignore[operator]
    assert run.ask() == []


def test_fitness_rewards_a_low_loss_and_a_fast_fall() -> None:
    """(first - last) - last: 0 - 1 = -1 for the lowest loss, 1.8 - 1.2 = 0.6 for the fastest fall."""
    run = Run(miha())
    run.tell(run.ask()[0], [1])
    after = run.cycle([1, 1], [3, 2, 1.2], [1.5, 1.1])
    assert after.proposal.parent == 2
    rows = run.strategy.notes()["changes"]
    assert [row["fitness"] for row in rows] == pytest.approx([-1, 0.6, -0.7])
    assert [row["chosen"] for row in rows] == [False, True, False]
    assert [(row["cycle"], row["copy"], row["trial"]) for row in rows] == [(1, 0, 1), (1, 1, 2), (1, 2, 3)]


def test_fitness_of_the_validation_loss() -> None:
    run = Run(miha(fitness="val_loss"))
    run.tell(run.ask()[0], [1])
    copies = run.ask()
    for trial, losses in zip(copies, ([1, 1], [3, 1], [1, 1]), strict=True):
        run.tell(trial, losses, "val_loss")
    assert run.ask()[0].proposal.parent == 2


@pytest.mark.parametrize(
    ("fitness", "metric", "chosen"),
    [
        ("published", "train_loss", 2),
        ("train_loss", "train_loss", 2),
        ("last_loss", "train_loss", 3),
        ("last_val_loss", "val_loss", 3),
        ("area", "train_loss", 1),
    ],
)
def test_what_else_a_copy_may_be_worth(fitness: str, metric: str, chosen: int) -> None:
    run = Run(miha(fitness=fitness))
    run.tell(run.ask()[0], [1])
    for trial, losses in zip(run.ask(), ([1.1, 1.0, 1.0], [5, 2, 1.0], [3, 1, 0.9]), strict=True):
        run.tell(trial, losses, metric)
    assert run.ask()[0].proposal.parent == chosen


def test_losses_may_count_times_the_batch_size() -> None:
    run = Run(miha(mutations=["batch_size"], fitness="last_loss", times_batch=True))
    run.tell(run.ask()[0], [1])
    copies = run.ask()
    for trial in copies:
        run.tell(trial, [1, 0.5])
    rows = run.strategy.notes()["changes"]
    sizes = [int(str(trial.proposal.genome[1])) for trial in copies]
    assert [row["last_loss"] for row in rows] == [0.5 * size for size in sizes]
    assert [row["chosen"] for row in rows].index(True) == sizes.index(min(sizes)), "the smallest batch wins"


def test_mutations_that_change_nothing_are_made_all_the_same() -> None:
    space = with_options(TrainingRecipe, widths=[4, 4], null_mutations=True)
    strategy = with_options(Miha, space, Objective(), np.random.default_rng(0), **{**OPTIONS, "pop_size": 99})
    run = Run(strategy)
    run.tell(run.ask()[0], [1])
    same = sum(trial.proposal.genome == run.proposals[0].genome for trial in run.ask())
    assert 3 < same < 30  # a third each: one of four optimizers, nine activations, twenty-one batch sizes


def test_every_copy_is_mutated_once_and_one_may_be_kept() -> None:
    for keep_one in (False, True):
        run = Run(miha(keep_one=keep_one, pop_size=20))
        run.tell(run.ask()[0], [1])
        start = run.proposals[0].genome
        changed = [sum(a != b for a, b in zip(p.genome, start, strict=True)) for p in (t.proposal for t in run.ask())]
        assert changed == [0 if keep_one else 1] + [1] * 19
        assert {p.origin for p in run.proposals[2:]} == {"optimizer", "activation", "batch_size"}
        assert (run.proposals[1].origin == "unchanged") == keep_one


def test_the_table_says_what_changed() -> None:
    run = Run(miha(mutations=["activation"]))
    run.tell(run.ask()[0], [1])
    run.cycle([2, 1], [1, 1], [1, 1])
    for row, proposal in zip(run.strategy.notes()["changes"], run.proposals[1:4], strict=True):
        layer = int(row["change"].removeprefix("activation "))
        assert row["from"] == "ReLU"
        assert row["to"] == proposal.genome[1 + layer]


def test_failed_copies_come_last() -> None:
    run = Run(miha())
    run.tell(run.ask()[0], [1])
    after = run.cycle(None, [1, 900], None)
    assert after.proposal.parent == 2
    assert [row["fitness"] for row in run.strategy.notes()["changes"]] == [None, -1799, None]


def test_the_network_goes_on_as_it_was_where_all_copies_failed() -> None:
    run = Run(miha())
    run.tell(run.ask()[0], [1])
    after = run.cycle(None, None, None)
    assert after.proposal == Proposal(run.proposals[0].genome, {}, 12, 0, "continue", "selection")


def test_a_failed_segment_leaves_the_network_before_it() -> None:
    run = Run(miha())
    run.tell(run.ask()[0], [1])
    run.tell(run.cycle([2, 1], [1, 1], [1, 1]), None)
    assert {(t.proposal.parent, t.proposal.budget) for t in run.ask()} == {(1, 18)}


def test_a_failed_start_starts_afresh() -> None:
    run = Run(miha())
    run.tell(run.ask()[0], None)
    assert {(t.proposal.parent, t.proposal.warm_start, t.proposal.budget) for t in run.ask()} == {(None, "none", 4)}


@pytest.mark.parametrize("weights", ["average", "fittest"])
def test_crossover_mixes_the_genes_of_the_fittest(weights: str) -> None:
    mixed = set()
    for seed in range(12):
        run = Run(miha(seed, choose="crossover", weights=weights))
        run.tell(run.ask()[0], [1])
        after = run.cycle([2, 1.5], [2, 1], [2, 0.5]).proposal
        assert (after.origin, after.parent, after.budget) == ("crossover", 3, 16)
        assert after.partners == ((2,) if weights == "average" else ())
        parents = run.proposals[3].genome, run.proposals[2].genome
        assert all(token in pair for token, *pair in zip(after.genome, *parents, strict=True))
        mixed.add(after.genome not in parents)
        assert [row["chosen"] for row in run.strategy.notes()["changes"]] == [False, True, True]
    assert True in mixed


def test_crossover_with_one_survivor_is_selection() -> None:
    run = Run(miha(choose="crossover"))
    run.tell(run.ask()[0], [1])
    after = run.cycle(None, [1, 1], None).proposal
    assert (after.origin, after.parent, after.partners) == ("selection", 2, ())


def test_checkpoints_that_are_needed() -> None:
    run = Run(miha(choose="crossover"))
    [first] = run.ask()
    assert set(run.strategy.required_checkpoints()) == set()
    run.tell(first, [1])
    assert set(run.strategy.required_checkpoints()) == {0}
    copies = run.ask()
    run.tell(copies[1], [2, 1])
    assert set(run.strategy.required_checkpoints()) == {0, 2}, "any copy may be the fittest, and all others may fail"
    run.tell(copies[0], [2, 1.5])
    run.tell(copies[2], None)
    assert set(run.strategy.required_checkpoints()) == {1, 2}, "the parents of the crossover"
    [after] = run.ask()
    assert set(run.strategy.required_checkpoints()) == {2}, "what the search falls back to"
    run.tell(after, [1])
    assert set(run.strategy.required_checkpoints()) == {4}


def test_the_outcome_may_be_left_to_the_objective() -> None:
    run = Run(miha(outcome="best"))
    run.tell(run.ask()[0], [1])
    assert run.strategy.selected_trial() is None


def test_wrappers_pass_on_what_they_are_asked() -> None:
    task = Task("digits", 1, 28, 28, 10)
    space = with_options(TrainingRecipe, widths=[4, 4])
    inner = miha()
    wrapped = Deduplicate(Constrain(inner, space, task, Constraints(parameters=10**9)), space, "reuse")
    assert (wrapped.uses_checkpoints, wrapped.length) == (True, 10)
    [proposal] = wrapped.ask(1)
    wrapped.tell(Trial(0, proposal), [Measurement(0, 0, "ok", {"val_accuracy": 0.5})])
    assert set(wrapped.required_checkpoints()) == {0}
    assert wrapped.selected_trial() == 0


def test_mistakes() -> None:
    with pytest.raises(ValueError, match=r"^_target_: miha changes how one network is trained"):
        with_options(Miha, Mlp(), Objective(), np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"^crossover_parents=4: "):
        miha(choose="crossover", crossover_parents=4)
    with pytest.raises(ValueError, match=r"^mutations=lr: no such mutation"):
        miha(mutations=["lr"])

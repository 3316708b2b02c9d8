"""The ASNN: what it suggests and when, and the tables of the paper made from its runs."""

import csv
import json
import math
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nasrun.core import Genome, Measurement, Objective, Proposal, Trial
from nasrun.core.options import ConfigError
from nasrun.spaces.mlp.space import Mlp
from nasrun.strategies.asnn.strategy import Asnn
from nasrun.strategies.asnn.table import MeasuredTable
from tests.support import setup_of

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
QUICK = {"rows": 200, "epochs": 3}


ACCURACY = Objective()


def asnn(space: Mlp | None = None, seed: int = 0, objective: Objective = ACCURACY, **options: Any) -> Asnn:
    return Asnn(space or Mlp(max_width=1024), objective, np.random.default_rng(seed), **{**QUICK, **options})


def landscape(genome: Genome) -> float:
    """An accuracy that rises with the first width, and hardly with the others."""
    return 1 - 0.5 / math.log2(int(genome[1])) + 0.001 * math.log2(int(genome[-1]))


def measured(trial: Trial, repeats: int = 3) -> list[Measurement]:
    values = [landscape(trial.proposal.genome) + 0.002 * repeat for repeat in range(repeats)]
    return [Measurement(trial.number, i, "ok", {"val_accuracy": value}) for i, value in enumerate(values)]


def drive(strategy: Asnn, count: int, tell: Callable[[Trial], list[Measurement]] = measured) -> list[Proposal]:
    """The first `count` proposals, each told at once."""
    proposals: list[Proposal] = []
    while len(proposals) < count and not strategy.done:
        for proposal in strategy.ask(1):
            strategy.tell(Trial(len(proposals), proposal), tell(Trial(len(proposals), proposal)))
            proposals.append(proposal)
    return proposals


def test_the_grid_comes_first_then_rounds_of_suggestions() -> None:
    strategy = asnn(grid=[16, 64], rounds=3, suggestions=2)
    assert strategy.initial == 4
    proposals = drive(strategy, 100)
    assert [proposal.genome for proposal in proposals[:4]] == [(2, 16, 16), (2, 16, 64), (2, 64, 16), (2, 64, 64)]
    assert [proposal.origin for proposal in proposals] == ["grid"] * 4 + ["suggestion"] * 6
    assert len({proposal.genome for proposal in proposals}) == 10
    assert strategy.done
    assert strategy.ask(5) == []


def test_a_round_waits_for_what_it_learns_from() -> None:
    strategy = asnn(grid=[16, 64], suggestions=3)
    grid = strategy.ask(10)
    assert len(grid) == 4
    assert strategy.ask(1) == []
    for number, proposal in enumerate(grid):
        assert strategy.ask(1) == []
        strategy.tell(Trial(number, proposal), measured(Trial(number, proposal)))
    suggested = strategy.ask(10)
    assert len(suggested) == 3
    assert strategy.ask(10) == []
    assert not strategy.done


def test_asking_for_one_or_for_many_gives_the_same_suggestions() -> None:
    found = []
    for at_a_time in (1, 5):
        strategy = asnn(table="two_layer", rounds=1, suggestions=5)
        proposals: list[Proposal] = []
        while len(proposals) < 5:
            asked = strategy.ask(at_a_time)
            for proposal in asked:  # what is told in between belongs to the next round
                strategy.tell(Trial(len(proposals), proposal), measured(Trial(len(proposals), proposal), repeats=10))
            proposals += asked
        found.append(proposals)
    assert found[0] == found[1]


@pytest.mark.parametrize(("source", "depth", "widest"), [("two_layer", 2, 256), ("three_layer", 3, 128)])
def test_suggestions_from_the_papers_tables_go_beyond_them(source: str, depth: int, widest: int) -> None:
    space = Mlp(min_depth=depth, max_depth=depth, max_width=1024)
    strategy = asnn(space, table=source, rounds=1, suggestions=5, spread=0.2, rows=5000, epochs=20)
    genomes = [proposal.genome for proposal in strategy.ask(5)]
    assert strategy.initial == 0
    firsts = [int(genome[1]) for genome in genomes]
    assert firsts == sorted(firsts)
    assert widest < firsts[-1] <= 1024
    # The last layer of the paper's networks makes no difference: its width is a mean over the grid's.
    assert all(24 < int(genome[-1]) < 130 for genome in genomes)


def test_targets_rise_from_the_best_in_deviations_of_the_table() -> None:
    strategy = asnn(table="two_layer", rounds=1, suggestions=3, headroom=0.5, spread=1.0)
    strategy.ask(3)
    (note,) = strategy.notes()["rounds"]
    table = MeasuredTable(2, Objective())
    table.load("two_layer")
    assert (note["architectures"], note["measurements"], note["repeats"], note["rows"]) == (25, 250, 10, 200)
    assert note["best"] == "256-16"
    expected = [0.98310 + share * table.deviation for share in (0.5, 1.0, 1.5)]
    assert [suggestion["target_mean"] for suggestion in note["suggestions"]] == pytest.approx(expected, abs=1e-9)


def test_targets_of_a_loss_fall() -> None:
    objective = Objective("val_loss", "min")
    strategy = asnn(grid=[16, 64], rounds=1, suggestions=2, objective=objective)

    def tell(trial: Trial) -> list[Measurement]:
        return [Measurement(trial.number, 0, "ok", {"val_loss": 1 - landscape(trial.proposal.genome)})]

    proposals = drive(strategy, 100, tell)
    (note,) = strategy.notes()["rounds"]
    assert note["best"] == "64-64"
    assert all(suggestion["target_mean"] < note["best_mean"] for suggestion in note["suggestions"])
    assert len(proposals) == 6


def test_what_was_learned_is_noted_as_json() -> None:
    strategy = asnn(grid=[16, 64], rounds=2, suggestions=2, members=2)
    proposals = drive(strategy, 100)
    rounds = json.loads(json.dumps(strategy.notes()))["rounds"]
    assert [note["round"] for note in rounds] == [1, 2]
    assert [note["architectures"] for note in rounds] == [4, 6]
    for note in rounds:
        assert len(note["loss"]) == QUICK["epochs"]
        assert all(loss > 0 for loss in note["loss"])
    genomes = [suggestion["genome"] for note in rounds for suggestion in note["suggestions"]]
    assert genomes == ["-".join(map(str, proposal.genome[1:])) for proposal in proposals[4:]]
    for note in rounds:
        for suggestion in note["suggestions"]:
            near = [round(min(max(width, 8), 1024)) for width in suggestion["widths"]]
            assert all(abs(int(a) - b) <= 1 for a, b in zip(suggestion["genome"].split("-"), near, strict=True))


def test_repeats_of_a_run_are_the_inputs_of_the_network() -> None:
    strategy = asnn(grid=[16, 64], suggestions=1)

    def tell(trial: Trial) -> list[Measurement]:
        found = measured(trial, repeats=5)
        return [*found[:2], Measurement(trial.number, 2, "failed", error="broken"), *found[3 : 3 + trial.number % 2]]

    drive(strategy, 5, tell)
    assert strategy.notes()["rounds"][0]["repeats"] == 3
    assert strategy.notes()["rounds"][0]["measurements"] == 10


def test_the_rule_widens_the_best_of_the_table_at_the_start() -> None:
    strategy = asnn(table="two_layer", suggest="widened", widening=2.0, rounds=2, suggestions=2)
    proposals = drive(strategy, 100)
    # The second width of the fourth is 256, the first is at its bound.
    assert [proposal.genome for proposal in proposals] == [(2, 512, 32), (2, 1024, 64), (2, 1024, 128), (2, 1024, 256)]
    assert {proposal.origin for proposal in proposals} == {"widened"}
    assert "loss" not in strategy.notes()["rounds"][0]


def test_what_was_proposed_or_is_in_the_table_gives_way_to_its_nearest() -> None:
    # 25 genomes, of which the shipped table holds 25: there is nothing to suggest.
    full = asnn(Mlp(widths=[16, 32, 64, 128, 256]), table="two_layer")
    assert full.ask(3) == []
    assert full.done
    space = Mlp(widths=[16, 32, 64, 128, 256, 512])
    strategy = asnn(space, table="two_layer", suggestions=1, rows=5000, epochs=20)
    proposals = drive(strategy, 100)
    assert len(proposals) == 11, "six times six, less the table's"
    assert all(512 in proposal.genome for proposal in proposals)
    first = proposals[0].genome
    assert first[1] == 512, "the nearest to a wide first layer and a second of about 64"
    assert first[2] in (32, 64, 128)
    assert strategy.done


def test_failed_trials_are_not_learned_from() -> None:
    strategy = asnn(grid=[16, 64, 256], rounds=2, suggestions=2)

    def tell(trial: Trial) -> list[Measurement]:
        return measured(trial) if trial.number % 2 else [Measurement(trial.number, 0, "failed", error="broken")]

    proposals = drive(strategy, 100, tell)
    assert len(proposals) == 9 + 4, "a failed suggestion is one of its round"
    assert [note["architectures"] for note in strategy.notes()["rounds"]] == [4, 5]


def test_infeasible_suggestions_are_made_again() -> None:
    strategy = asnn(grid=[16, 64], rounds=2, suggestions=2)

    def tell(trial: Trial) -> list[Measurement]:
        if trial.proposal.origin == "suggestion" and trial.number % 2:
            return [Measurement(trial.number, 0, "infeasible", error="over a constraint")]
        return measured(trial)

    proposals = drive(strategy, 100, tell)
    # Trials 5, 7 and 9 are turned down: a round goes on until two were not.
    assert len(proposals) == 4 + 3 + 4
    assert len({proposal.genome for proposal in proposals}) == 11
    assert strategy.notes()["rounds"][1]["architectures"] == 6


def test_without_two_measured_architectures_it_draws() -> None:
    def fail(trial: Trial) -> list[Measurement]:
        return [Measurement(trial.number, 0, "failed", error="broken")]

    strategy = asnn(grid=[16], suggestions=1)
    proposals = drive(strategy, 30, fail)
    assert [proposal.origin for proposal in proposals] == ["grid"] + ["sample"] * 29
    assert len({proposal.genome for proposal in proposals}) == 30


def test_a_training_that_goes_astray_is_survived() -> None:
    strategy = asnn(grid=[16, 64], suggestions=2, lr=1e300)
    proposals = drive(strategy, 12)
    assert len(proposals) == 12
    assert {proposal.origin for proposal in proposals[4:]} == {"sample"}
    json.dumps(strategy.notes())


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (("search_space=sequential_cnn",), "strategy._target_: asnn suggests only widths; it needs search_space=mlp"),
        (("search_space.min_depth=1",), "strategy._target_: asnn suggests only widths"),
        (("search_space.activations=[relu,tanh]",), "strategy._target_: asnn suggests only widths"),
        (("strategy.grid=null",), "strategy.table=null: nothing to learn from; set table or grid"),
        (("strategy.grid=[16,4]",), "strategy.grid=4: not a width of the search space; the nearest one is 8"),
        (("strategy.grid=[]",), "strategy.grid=[]: must not be empty"),
        (("strategy.widening=1",), "strategy.widening=1: must be above 1"),
        (("strategy.loss=mean",), "strategy.loss=mean: unknown"),
        (("strategy.layers=3",), "strategy.layers: no such key"),
    ],
)
def test_what_cannot_work_is_refused_in_a_line(overrides: Sequence[str], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        setup_of("strategy=asnn", *(["search_space=mlp"] if "search_space=" not in overrides[0] else []), *overrides)
    assert str(caught.value).startswith(words)
    assert "\n" not in str(caught.value)


def test_torch_is_not_imported_before_something_is_trained() -> None:
    code = "import sys, nasrun.strategies.asnn.strategy; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


# The tables of the paper


def test_the_papers_layout_from_a_run(nasrun: Callable[..., Any], tmp_path: Path) -> None:
    """The grid looked up in the shipped table comes out as it was printed."""
    widths = "search_space.widths=[16,32,64,128,256]"
    words = f"search_space=mlp {widths} strategy=grid evaluator=table evaluator.repeat=draw evaluator.repeats=10"
    done = nasrun(f"{words} dataset=mnist trials=25 output.plots=false hydra.run.dir=run")
    assert done.returncode == 0, done.stderr
    script = [sys.executable, SCRIPTS / "tables.py", "asnn"]
    table = subprocess.run(
        [*script, "run", "--csv", "table.csv"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    with (tmp_path / "table.csv").open() as file:
        header, *rows = csv.reader(file)
    assert header == ["L1", "L2", *(f"E{i}" for i in range(1, 11)), "mean"]
    assert [row[0] for row in rows] == [size for size in ("256", "128", "64", "32", "16") for _ in range(5)]
    assert [row[1] for row in rows] == ["256", "128", "64", "32", "16"] * 5
    assert len(rows) == 25
    for row in rows:
        assert float(row[-1]) == pytest.approx(np.mean([float(value) for value in row[2:-1]]), abs=1e-5)
    lines = table.stdout.splitlines()
    assert "| " + " | ".join(rows[0]) + " |" in lines
    assert any(line.startswith("| run | grid | 25 | 256-") for line in lines)
    compared = [line for line in lines if line.startswith("| 256-16 | 0.98310 +- 0.00044 | 0.983")]
    assert len(compared) == 1

    wrong = subprocess.run([*script, "nowhere"], cwd=tmp_path, capture_output=True, text=True)
    assert wrong.returncode == 2
    assert "nowhere: not a finished run of search_space=mlp" in wrong.stderr

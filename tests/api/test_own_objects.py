"""Objects of a program in place of options: what they may be, what is checked, and which runs they make."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nasrun
from nasrun.core import Proposal
from nasrun.strategies.aging_evolution import AgingEvolution
from tests.api.parts import LOOKUP, Sampler


def evolution(size: int) -> Any:
    """Aging evolution with a population of a size, as a function of the parts that nasrun passes in."""
    return lambda *parts: AgingEvolution(*parts, population=size, sample=2)


def test_objects_are_not_shared_by_the_runs_of_a_sweep(tmp_path: Path) -> None:
    space = nasrun.AskTell("nasbench201", "random").space
    shared = Sampler(space, nasrun.Objective("val_accuracy"), np.random.default_rng(0))
    with pytest.raises(nasrun.ConfigError, match=r"^strategy: one object for 2 runs .*; give its class"):
        nasrun.sweep([*LOOKUP, "trials=3", "seed=0,1"], directory=tmp_path / "sweep", strategy=shared)
    assert list(tmp_path.iterdir()) == []


def test_objects_of_a_program_go_on_in_it_alone(tmp_path: Path, nasrun_inprocess: object) -> None:
    def make(space: nasrun.SearchSpace, objective: nasrun.Objective, rng: np.random.Generator) -> Sampler:
        return Sampler(space, objective, rng)

    whole = nasrun.run([*LOOKUP, "trials=9"], directory=tmp_path / "whole", strategy=make, progress=False)
    nasrun.run([*LOOKUP, "trials=5"], directory=tmp_path / "run", strategy=make, progress=False)
    answer = nasrun_inprocess("resume run trials=9")  # type: ignore[operator]
    assert answer.returncode == 2
    path = f"{make.__module__}.{make.__qualname__}"
    line = f"strategy: was {path} in the program that started the run{{}}; continue from that program: nasrun.resume("
    assert answer.stderr.startswith(f"nasrun: {line.format('')}'run', strategy=...), or open it there: ")
    with pytest.raises(nasrun.ConfigError, match=f"^{re.escape(line.format(''))}"):
        nasrun.resume(tmp_path / "run", ["trials=9"])
    with pytest.raises(nasrun.ConfigError, match=f"^{re.escape(line.format(', not tests.api.parts.Sampler'))}"):
        nasrun.resume(tmp_path / "run", ["trials=9"], strategy=Sampler)
    with pytest.raises(nasrun.ConfigError, match=r"^strategy\.steps: not used, since strategy is given as an object"):
        nasrun.resume(tmp_path / "run", ["strategy.steps=4"], strategy=make)
    with pytest.raises(nasrun.ConfigError, match=r"^strategy\.steps: not used, since strategy is given as an object"):
        nasrun.run([*LOOKUP, "strategy.steps=4"], directory=tmp_path / "other", strategy=make)
    assert not (tmp_path / "other").exists()
    run = nasrun.resume(tmp_path / "run", ["trials=9"], strategy=make)
    assert [trial.genome for trial in run.trials] == [trial.genome for trial in whole.trials]


def test_functions_with_other_settings_make_other_runs(tmp_path: Path) -> None:
    words = [*LOOKUP, "trials=12", "seed=0,1"]
    folder, tried = tmp_path / "sweep", []
    for size, names in ((4, ["0", "1"]), (8, ["0_2", "1_2"]), (8, ["0_2", "1_2"])):
        runs = nasrun.sweep(words, directory=folder, strategy=evolution(size))
        assert [run.directory.name for run in runs] == names
        tried.append([[trial.origin for trial in run.trials] for run in runs])
    assert tried[0] != tried[1] == tried[2]
    says = r"^the search cannot be resumed here: event \d+ of the journal: the strategy proposed "
    with pytest.raises(nasrun.RunError, match=says) as caught:
        nasrun.resume(folder / "0", {"trials": np.int64(14)}, strategy=evolution(9))
    assert len(str(caught.value)) < 400


def test_what_is_given_twice_or_elsewhere(tmp_path: Path) -> None:
    inside = {"directory": tmp_path / "sweep"}
    for refused, says in (
        (lambda: nasrun.run(LOOKUP, trials=5), r"trials: not expected; .*; other settings are words: \['trials=5'\]"),
        (lambda: nasrun.run(LOOKUP, strategy=AgingEvolution), "strategy=AgingEvolution: give the name of its option"),
        (lambda: nasrun.run(["strategy=pso"], strategy="random"), "strategy: given twice, as pso and as random"),
        (lambda: nasrun.sweep([*LOOKUP, "hydra.sweep.dir=x"], **inside), "hydra.sweep.dir: given twice"),
        (lambda: nasrun.AskTell("nasbench201", "derived"), "strategy=derived: proposes what an evaluator derives"),
        (lambda: nasrun.compare(one for one in ()), r"runs=\[\]: expected a run"),  # type: ignore[arg-type]
    ):
        with pytest.raises(nasrun.ConfigError, match=f"^{says}"):
            refused()
    assert list(tmp_path.iterdir()) == []


def test_a_mistake_of_ones_own_strategy_is_no_damage(tmp_path: Path, nasrun_inprocess: object) -> None:
    silent = type("Silent", (Sampler,), {"messages": lambda self: None})
    how = f"continue from the same program: nasrun.resume({str(tmp_path / 'run')!r}, strategy=...)"
    wrong = r"^strategy: Silent\.messages returned None; expected a list of lines"
    with pytest.raises(nasrun.RunError, match=f"{wrong}.*; {re.escape(how)}$"):
        nasrun.run([*LOOKUP, "trials=3"], directory=tmp_path / "run", strategy=silent, progress=False)
    # The command line cannot continue it, so that no verb says so.
    assert how in nasrun_inprocess(f"status {tmp_path / 'run'}").stdout  # type: ignore[operator]
    assert how in nasrun_inprocess(f"export {tmp_path / 'run'}").stderr  # type: ignore[operator]


def test_answers_of_ones_own_strategy_are_checked(tmp_path: Path) -> None:
    class Many(Sampler):
        def ask(self, n: int) -> list[Proposal]:
            return super().ask(n + 1)

    words = [*LOOKUP, "trials=3"]
    with pytest.raises(nasrun.RunError, match=r"^strategy: Many\.ask\(1\) returned 2 proposals; .*; continue from the"):
        nasrun.run(words, directory=tmp_path / "run", strategy=lambda *parts: Many(*parts), progress=False)
    with pytest.raises(ValueError, match=r"^strategy: Many\.ask\(2\) returned 3 proposals; expected at most 2$"):
        nasrun.AskTell("nasbench201", Many).ask(2)


def test_answers_of_ones_own_evaluator_are_checked(tmp_path: Path) -> None:
    class Cheap(nasrun.Evaluator):
        def __init__(self, space: object, dataset: object, hardware: object) -> None:
            pass

        def evaluate(self, jobs: Any) -> Any:
            for job in jobs:
                number = job.trial.number
                assert number != 2, "too deep"
                yield 0.5 if number == 1 else nasrun.Measurement(number, job.repeat, "ok", {"val_accuracy": 0.5})

    words = ["search_space=nasbench201", "output.plots=false", "trials=4", "dataset=fashion_mnist_mini"]
    run = nasrun.run(words, directory=tmp_path / "run", evaluator=lambda *parts: Cheap(*parts), progress=False)
    assert [trial.status for trial in run.trials] == ["ok", "failed", "failed", "ok"]
    assert run.trials[1].error == "Cheap.evaluate yielded 0.5; expected a nasrun.Measurement"
    assert re.fullmatch(
        r"AssertionError: too deep .*\(in Cheap\.evaluate, test_own_objects\.py:\d+\)", run.trials[2].error, re.DOTALL
    )

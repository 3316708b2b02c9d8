"""TPE: proposals are those of Optuna's sampler, driven directly."""

import warnings
from typing import Any

import numpy as np
import optuna
import pytest

from nasrun.core import Measurement, Objective, Trial
from nasrun.spaces.training_recipe.space import TrainingRecipe
from nasrun.strategies.tpe import Tpe
from tests.support import setup_of, trajectory, with_options


def told(strategy: Tpe, number: int, proposal: Any, value: float | None) -> None:
    failed = Measurement(number, 0, "failed", error="no")
    found = failed if value is None else Measurement(number, 0, "ok", {"val_accuracy": value})
    strategy.tell(Trial(number, proposal), [found])


def worth(genome: Any) -> float:
    return -abs(int(genome[1]) - 70) / 200 + (genome[0] == "sgd")


@pytest.mark.parametrize("mode", ["max", "min"])
def test_proposals_are_optunas(mode: Any) -> None:
    space = with_options(TrainingRecipe, widths=[4])
    strategy = Tpe(space, Objective(mode=mode), np.random.default_rng(3), startup=5)
    rng = np.random.default_rng(3)
    space.sample(rng)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sampler = optuna.samplers.TPESampler(
            n_startup_trials=5, multivariate=True, constant_liar=True, seed=int(rng.integers(2**32))
        )
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for number in range(30):
        [proposal] = strategy.ask(1)
        asked = study.ask()
        expected = space.decode(np.array([asked.suggest_float(f"x{place}", 0, 1) for place in range(3)]))
        assert proposal.genome == expected
        assert proposal.origin == ("sample" if number < 5 else "tpe")
        value = worth(expected)
        if number == 7:
            study.tell(asked, state=optuna.trial.TrialState.FAIL)
            told(strategy, number, proposal, None)
        else:
            study.tell(asked, value if mode == "max" else -value)
            told(strategy, number, proposal, value)


@pytest.mark.parametrize("through", ["encoding", "choices"])
@pytest.mark.parametrize("space", ["training_recipe", "sequential_cnn", "nasbench201", "mlp"])
def test_both_ways_run_on_every_kind_of_space(space: str, through: str) -> None:
    runs = []
    for _ in range(2):
        setup = setup_of("strategy=tpe", f"strategy.through={through}", f"search_space={space}", "deduplicate=resample")
        runs.append(trajectory(setup.strategy, setup, 25))
        for proposal in runs[-1]:
            setup.space.validate(proposal.genome)
    assert runs[0] == runs[1]


def test_optunas_log_and_warnings_are_as_before(capfd: pytest.CaptureFixture[str]) -> None:
    optuna.logging.set_verbosity(optuna.logging.INFO)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        strategy = Tpe(TrainingRecipe(), Objective(), np.random.default_rng(0))
        for number in range(12):
            told(strategy, number, strategy.ask(1)[0], 0.5)
    assert optuna.logging.get_verbosity() == optuna.logging.INFO
    assert capfd.readouterr().err == ""


def test_several_in_flight_do_not_crowd_together() -> None:
    strategy = Tpe(with_options(TrainingRecipe, widths=[4]), Objective(), np.random.default_rng(1))
    for number in range(20):
        [proposal] = strategy.ask(1)
        told(strategy, number, proposal, worth(proposal.genome))
    assert len({proposal.genome for proposal in strategy.ask(8)}) >= 6

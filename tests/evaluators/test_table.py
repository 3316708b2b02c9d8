"""Evaluator `table`: what it reports, what it refuses, and whole runs with it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nasrun.config.build import Setup, build
from nasrun.config.compose import compose_config, task_config
from nasrun.core import Genome, seeding
from nasrun.core.options import ConfigError
from nasrun.tables import TableError
from nasrun.tables.nasbench101.table import EcNas
from tests.evaluators.look_ups import CELLS_101, final, look_up, prepared
from tests.support import options, setup_of

BEST = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|"
SKIP = "|skip_connect~0|+|skip_connect~0|skip_connect~1|+|skip_connect~0|skip_connect~1|skip_connect~2|"
CELLS_201 = ("evaluator=table", "dataset=cifar10", "search_space=nasbench201")
REPEATED = "conv3x3(0)-conv1x1(0)-out(1+2)"
"""A cell of four vertices, which EC-NAS trained four times."""


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NASRUN_CACHE", str(tmp_path / "cache"))


def refusal(*overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        setup_of(*overrides)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def ec_nas_trainings(epochs: int = 4) -> tuple[Any, slice]:
    """The trainings of `REPEATED`, from the table itself."""
    table = EcNas()
    table.load()
    space = setup_of(*CELLS_101).space
    trainings = table.trainings("cifar10", epochs)
    row = table.find(space, space.parse(REPEATED))
    assert row is not None
    return trainings, trainings.of(row)


def test_the_published_values_are_reported() -> None:
    setup = prepared(*CELLS_201)
    measurement = look_up(setup, BEST)
    cost = setup.space.cost(setup.space.parse(BEST), setup.dataset.task)
    assert measurement.status == "ok"
    assert measurement.metrics == {
        "val_accuracy": 0.91606667,
        "parameters": 1_073_466,
        "flops": cost.flops,
        "epochs": 200,
    }
    assert set(setup.evaluator.metrics) == set(measurement.metrics)


@pytest.mark.parametrize(
    ("dataset", "epochs", "value"),
    [
        ("cifar10", 12, 0.84384),
        ("cifar100", 200, 0.72746667),
        ("cifar100", 12, 0.602),
        ("imagenet16", 200, 0.45555556),
        ("imagenet16", 12, 0.37133333),
    ],
)
def test_data_sets_and_lengths(dataset: str, epochs: int, value: float) -> None:
    run = (*CELLS_201, f"dataset={dataset}")
    assert look_up(prepared(*run, f"evaluator.epochs={epochs}"), BEST).metrics["val_accuracy"] == value
    assert look_up(prepared(*run), BEST, budget=epochs).metrics["val_accuracy"] == value
    assert look_up(prepared(*run), BEST, budget=epochs).metrics["epochs"] == epochs


def test_a_budget_goes_before_epochs() -> None:
    setup = prepared(*CELLS_201, "evaluator.epochs=12")
    assert look_up(setup, BEST).metrics["epochs"] == 12
    assert look_up(setup, BEST, budget=200).metrics["val_accuracy"] == 0.91606667


def test_what_the_table_lacks_is_infeasible() -> None:
    setup = prepared(*CELLS_201)
    measurement = look_up(setup, BEST, budget=50)
    assert (measurement.status, measurement.metrics) == ("infeasible", {})
    assert measurement.error == "table nasbench201 has no trainings of 50 epochs; it has those of 12, 200"
    measurement = look_up(setup, BEST, hparams={"lr": 0.1, "batch_size": 32})
    assert measurement.error == "lr, batch_size: table nasbench201 has one training setting only"
    assert measurement.status == "infeasible"

    setup = prepared(*CELLS_101)
    large = look_up(setup, "conv3x3(0)-conv3x3(1)-conv3x3(2)-conv3x3(3)-out(4)")
    assert (large.status, large.error) == ("infeasible", "table ec_nas does not hold this architecture")
    five = look_up(setup, "conv3x3(0)-conv3x3(1)-conv3x3(2)-out(3)", budget=1)
    assert five.error == "table ec_nas holds no training of 1 epoch of this architecture"
    assert five.status == "infeasible"
    assert look_up(setup, REPEATED, budget=1).status == "ok"


def test_a_job_never_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    setup = prepared(*CELLS_101)

    def broken(genome: Genome) -> str:
        raise RuntimeError("not\na cell")

    monkeypatch.setattr(setup.space, "key", broken)
    measurement = look_up(setup, REPEATED)
    assert (measurement.status, measurement.error) == ("failed", "RuntimeError: not a cell")


def test_the_mean_of_the_repeats() -> None:
    trainings, place = ec_nas_trainings()
    assert place.stop - place.start == 4
    metrics = look_up(prepared(*CELLS_101), REPEATED).metrics
    assert metrics["val_accuracy"] == pytest.approx(np.mean(trainings.validation[place]), rel=1e-15)
    for name in ("simulated_seconds", "energy_kwh", "co2eq_g"):
        assert metrics[name] == pytest.approx(np.mean(trainings.spent[name][place]), rel=1e-14)
    # Whatever the seed is.
    assert look_up(prepared(*CELLS_101), REPEATED, seed=1).metrics == metrics


def test_one_of_the_repeats_is_drawn_by_the_seed() -> None:
    trainings, place = ec_nas_trainings()
    setup = prepared(*CELLS_101, "evaluator.repeat=draw")
    seeds = [seeding.integer(0, seeding.Purpose.JOB, trial) for trial in range(400)]
    drawn = [look_up(setup, REPEATED, seed=seed).metrics for seed in seeds]
    assert drawn == [look_up(setup, REPEATED, seed=seed).metrics for seed in seeds]
    values = trainings.validation[place].tolist()
    counts = [sum(metrics["val_accuracy"] == value for metrics in drawn) for value in values]
    assert sum(counts) == 400
    # 100 each are expected, with a standard deviation of 8.7.
    assert min(counts) > 60
    # All that is reported is of one and the same training.
    wholes = set(zip(values, *(trainings.spent[name][place].tolist() for name in trainings.spent), strict=True))
    assert {(m["val_accuracy"], *(m[name] for name in trainings.spent)) for m in drawn} == wholes


def test_the_winner_is_tested_and_compared_with_the_best() -> None:
    assert final(prepared(*CELLS_201), BEST) == {"test_accuracy": 0.94373333, "test_regret": 0.0, "val_regret": 0.0}
    metrics = final(prepared(*CELLS_201, "dataset=imagenet16"), BEST)
    assert metrics == pytest.approx(
        {"test_accuracy": 0.46711111, "test_regret": 0.47311111 - 0.46711111, "val_regret": 0.46733333 - 0.45555556}
    )
    short = final(prepared(*CELLS_201, "evaluator.epochs=12"), BEST)
    assert (short["test_accuracy"], short["val_regret"]) == (0.8879, pytest.approx(0.84892 - 0.84384))
    assert final(prepared(*CELLS_201), BEST, budget=12) == short
    assert final(prepared(*CELLS_201, "evaluator.final_epochs=200"), BEST, budget=12)["test_regret"] == 0.0


def test_the_winner_is_tested_by_the_mean_of_its_repeats() -> None:
    trainings, place = ec_nas_trainings()
    for repeat in ("mean", "draw"):
        metrics = final(prepared(*CELLS_101, f"evaluator.repeat={repeat}"), REPEATED)
        assert metrics["test_accuracy"] == pytest.approx(np.mean(trainings.test[place]))
        assert metrics["test_regret"] == pytest.approx(0.7625200152397156 - metrics["test_accuracy"])
        assert metrics["val_regret"] == pytest.approx(0.7701321840286255 - np.mean(trainings.validation[place]))
    assert final(prepared(*CELLS_101, "evaluator.final_epochs=1"), "conv3x3(0)-conv3x3(1)-conv3x3(2)-out(3)") == {}


def test_dense_networks() -> None:
    setup = prepared("evaluator=table", "dataset=mnist", "search_space=mlp")
    metrics = look_up(setup, "256-256").metrics
    assert metrics["val_accuracy"] == pytest.approx(0.98281)
    assert (metrics["epochs"], metrics["parameters"]) == (50, 785 * 256 + 257 * 256 + 257 * 10)
    assert look_up(setup, "256-255").status == "infeasible"
    # The paper has one accuracy per training, by which the search went already.
    assert final(setup, "256-256") == {"val_regret": pytest.approx(0.9838 - 0.98281)}


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (("evaluator=table", "dataset=cifar10", "search_space=sequential_cnn"), "evaluator.table=auto: no table for"),
        ((*CELLS_201, "dataset=mnist"), "evaluator.table=auto: knows nothing of dataset=mnist; choose"),
        ((*CELLS_101, "dataset=cifar100"), "evaluator.table=auto: knows nothing of dataset=cifar100"),
        ((*CELLS_201, "evaluator.table=ec_nas"), "evaluator.table=ec_nas: only has architectures of"),
        ((*CELLS_201, "evaluator.table=nasbench"), "evaluator.table=nasbench: no such table, and no such file"),
        ((*CELLS_201, "evaluator.epochs=50"), "evaluator.epochs=50: table nasbench201 has no trainings of 50 epochs"),
        ((*CELLS_201, "evaluator.final_epochs=50"), "evaluator.final_epochs=50: table nasbench201 has no trainings"),
        ((*CELLS_201, "evaluator.repeat=best"), "evaluator.repeat=best: unknown"),
        ((*CELLS_201, "evaluator.epochs=0"), "evaluator.epochs=0: must be at least 1"),
        ((*CELLS_201, "dataset=cifar100", "dataset.name=cifar10"), "dataset.name=cifar10: unknown"),
        ((*CELLS_201, "objective.metric=simulated_seconds"), "objective.metric=simulated_seconds: not reported"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(overrides: tuple[str, ...], words: str) -> None:
    assert refusal(*overrides).startswith(words)


@pytest.mark.parametrize(
    "overrides",
    [(*CELLS_201, "search_space.channels=8"), (*CELLS_101, "search_space.stacks=2")],
)
def test_networks_of_another_size_are_refused(overrides: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match=r"^evaluator\.table: \w+ is about other networks than search_space builds"):
        prepared(*overrides)


def test_all_cells_of_a_space_may_be_named_otherwise() -> None:
    merged = prepared(*CELLS_201, "search_space.merge_isomorphs=true")
    assert look_up(merged, BEST) == look_up(prepared(*CELLS_201), BEST)
    setup = prepared(*CELLS_101, "search_space.chain=true")
    rng = np.random.default_rng(0)
    found = [look_up(setup, setup.space.format(setup.space.sample(rng))) for _ in range(50)]
    assert any(one.status == "ok" for one in found)
    assert {one.error for one in found} <= {None, "table ec_nas does not hold this architecture"}


def test_another_table_than_at_the_start_is_refused() -> None:
    setup = setup_of(*CELLS_201)
    facts = setup.evaluator.prepare()
    assert setup.evaluator.prepare(facts) == facts
    assert facts["table"]["name"] == "nasbench201"
    with pytest.raises(TableError, match=r"^evaluator\.table: nasbench201 has changed since the run began"):
        setup.evaluator.prepare({"table": {"name": "nasbench201", "sha256": "0" * 64}})


def composed(*overrides: str) -> Setup:
    return build(task_config(compose_config(overrides)))


def test_the_data_set_is_cifar10_unless_another_is_chosen() -> None:
    assert composed("evaluator=table", "search_space=nasbench201").dataset.name == "cifar10"
    assert composed("search_space=nasbench201", "dataset=cifar100", "evaluator=table").dataset.name == "cifar100"
    assert composed("evaluator=table", "dataset=imagenet16", "search_space=nasbench201").dataset.name == "imagenet16"


def test_data_sets_without_images_say_so() -> None:
    for name, side, classes in (("cifar100", 32, 100), ("imagenet16", 16, 120)):
        assert name in options("dataset")
        dataset = setup_of("evaluator=synthetic", f"dataset={name}").dataset
        assert (dataset.task.channels, dataset.task.height, dataset.task.outputs) == (3, side, classes)
        with pytest.raises(ConfigError, match=f"^dataset={name}: has no images, only results in benchmark tables"):
            dataset.load()


def test_draw_is_refused_where_there_is_nothing_to_draw() -> None:
    setup = setup_of(*CELLS_201, "evaluator.repeat=draw")
    with pytest.raises(
        ConfigError, match=r"^evaluator\.repeat=draw: table nasbench201 holds one number of each"
    ) as caught:
        setup.evaluator.prepare()
    assert len(str(caught.value).splitlines()) == 1
    recorded = prepared(*CELLS_201).evaluator.prepare()
    assert setup_of(*CELLS_201, "evaluator.repeat=draw").evaluator.prepare(recorded) == recorded  # begun before

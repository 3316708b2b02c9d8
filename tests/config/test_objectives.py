"""Several objectives: how they are named, what they leave, their volumes, and a latency among them."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omegaconf import DictConfig

from nasrun.config.build import build, rebuild
from nasrun.config.compose import compose_config, task_config
from nasrun.config.overrides import in_full
from nasrun.core import Evaluator, EvaluatorWrapper, Job, Measurement, Objective, Proposal, Trial
from nasrun.core.options import ConfigError
from nasrun.evaluators.costs import WithCosts
from nasrun.evaluators.synthetic import Synthetic
from nasrun.reports.compare.runs import ComparedRun, read_compared
from nasrun.reports.front import front_of, hypervolume, non_dominated
from nasrun.reports.page import CAPTIONS
from nasrun.reports.plot_data import plot_data
from nasrun.reports.plots import draw_plots
from nasrun.runner.errors import RunError
from nasrun.runner.run import resume, start
from nasrun.runner.search import fail_non_finite
from nasrun.storage import journal
from nasrun.storage.records import TrialRecord, best_of, read_run
from tests.support import setup_of

ALONE = ("hardware.device=cpu", "hardware.threads=1")
QUIET = (
    "search_space=sequential_cnn",
    "recipe=plain",
    "dataset=synthetic",
    "evaluator=synthetic",
    "output.console=none",
    "output.plots=false",
    *ALONE,
)
TWO = Objective("val_accuracy", "max", (Objective("parameters", "min"),))


def composed(*words: str) -> DictConfig:
    return task_config(compose_config(in_full([*QUIET, *words])))


def record(number: int, status: str, accuracy: float, parameters: float, **fields: Any) -> TrialRecord:
    trial = Trial(number, Proposal(("a", number), **fields))
    metrics = {"val_accuracy": accuracy, "parameters": parameters} if status == "ok" else {}
    return TrialRecord(trial, [Measurement(number, 0, status, metrics)])  # type: ignore[arg-type]


def test_failed_and_reused_trials_are_on_no_front() -> None:
    found = [
        record(0, "ok", 0.5, 10),
        record(1, "failed", 0.9, 1),
        record(2, "ok", 0.5, 10, reuse_of=0),
        record(3, "infeasible", 0.9, 1),
        record(4, "ok", 0.7, 30),
        record(5, "ok", 0.6, 40),
    ]
    front = front_of({entry.trial.number: entry for entry in found}, TWO)
    assert [entry.trial.number for entry in front] == [4, 0]
    best = best_of({entry.trial.number: entry for entry in found}, TWO)
    assert best is not None
    assert best.trial.number == 4, "the first objective says who wins"


def test_a_failure_is_worst_in_all_objectives() -> None:
    fine = Measurement(0, 0, "ok", {"val_accuracy": 0.5, "parameters": 10.0})
    assert TWO.scores([fine, Measurement(0, 1, "failed")]) == (0.5, -10)
    assert TWO.scores([Measurement(0, 0, "failed")]) == (-np.inf, -np.inf)
    broken = fail_non_finite(fine._replace(metrics={"val_accuracy": 0.5, "parameters": float("nan")}))
    assert (broken.status, broken.error) == ("failed", "parameters is nan")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("", [("val_accuracy", "max")]),
        ("objective=parameters", [("parameters", "min")]),
        ("objective=[flops,val_accuracy]", [("flops", "min"), ("val_accuracy", "max")]),
        ("objective.metric=flops objective.mode=max", [("flops", "max")]),
        ("objective=[auto,parameters]", [("val_accuracy", "max"), ("parameters", "min")]),
        ("objective=[val_accuracy,flops] objective.mode=[min,auto]", [("val_accuracy", "min"), ("flops", "min")]),
        ("objective=[val_accuracy,latency_ms]", [("val_accuracy", "max"), ("latency_ms", "min")]),
    ],
)
def test_objectives_are_named_in_several_ways(words: str, expected: list[tuple[str, str]]) -> None:
    objective = build(composed(*words.split())).objective
    assert [(one.metric, one.mode) for one in objective.all] == expected
    assert all(one.others == () for one in objective.all)


def test_short_words_stand_for_the_key_also_in_sweeps() -> None:
    given = [
        "objective=val_loss",
        "objective=[a,b],c",
        "objective=null",
        "objective={metric:x}",
        "objective=[",
        "seed=1",
    ]
    meant = ["objective.metric=val_loss", "objective.metric=[a,b],c", *given[2:4], 'objective.metric="["', given[5]]
    assert in_full(given) == meant


def run(directory: Path, *words: str) -> dict[str, Any]:
    return start(composed(*words), directory, unique=False)


SEARCH = ("strategy=nsga2", "strategy.population=5", "objective=[val_accuracy,parameters]", "trials=30")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of NSGA-II with failures and three trials in flight."""
    directory = tmp_path_factory.mktemp("objectives") / "whole"
    run(directory, *SEARCH, "hardware.in_flight=3", "evaluator.fail_rate=0.2")
    return directory


def test_a_run_leaves_its_front(whole: Path) -> None:
    summary = json.loads((whole / "summary.json").read_text())
    assert summary["objective"] == {"metric": "val_accuracy", "mode": "max"}
    assert [one["metric"] for one in summary["objectives"]] == ["val_accuracy", "parameters"]
    with (whole / "trials.csv").open() as file:
        trials = [row for row in csv.DictReader(file) if row["status"] == "ok"]
    with (whole / "front.csv").open() as file:
        front = list(csv.DictReader(file))
    assert [int(row["trial"]) for row in front] == summary["front"]["trials"]
    scores = np.array([[float(row["val_accuracy"]), -float(row["parameters"])] for row in trials])
    expected = {trials[place]["trial"] for place in non_dominated(scores)}
    assert {row["trial"] for row in front} == expected
    by_number = {row["trial"]: row for row in trials}
    for row in front:
        assert all(row[name] == by_number[row["trial"]][name] for name in ("genome", "val_accuracy", "parameters"))
    assert [float(row["val_accuracy"]) for row in front] == sorted(float(row["val_accuracy"]) for row in front)[::-1]
    worst = scores.min(axis=0)
    assert summary["front"]["reference"] == {"val_accuracy": worst[0], "parameters": -worst[1]}
    assert summary["front"]["hypervolume"] == pytest.approx(hypervolume(scores, worst))
    assert summary["best"]["trial"] == int(front[0]["trial"])


def test_a_run_cut_anywhere_leaves_the_same_files(whole: Path, tmp_path: Path) -> None:
    lines = (whole / journal.NAME).read_bytes().splitlines(keepends=True)
    for cut in range(2, len(lines), 17):
        directory = tmp_path / f"cut{cut}"
        for path in (whole / ".hydra").iterdir():
            (directory / ".hydra").mkdir(parents=True, exist_ok=True)
            (directory / ".hydra" / path.name).write_bytes(path.read_bytes())
        (directory / journal.NAME).write_bytes(b"".join(lines[:cut]) + lines[cut][:9])
        resume(directory, {})
        for name in ("front.csv", "genomes.txt", "best.json"):
            assert (directory / name).read_bytes() == (whole / name).read_bytes(), f"{name}, cut after {cut} events"
        summaries = [json.loads((place / "summary.json").read_text()) for place in (directory, whole)]
        assert summaries[0]["front"] == summaries[1]["front"]


def test_comparisons_tell_one_objective_from_several(whole: Path) -> None:
    compared = read_compared(whole)
    assert isinstance(compared, ComparedRun)
    assert compared.benchmark["objective.metric"] == ["val_accuracy", "parameters"]
    assert compared.benchmark["objective.mode"] == ["max", "min"]
    assert "objective.reference" not in compared.benchmark, "it changes no result"


def test_the_reference_point_can_be_given(tmp_path: Path) -> None:
    summary = run(tmp_path / "run", *SEARCH, "objective.reference=[0.5,30000]")
    assert summary["front"]["reference"] == {"val_accuracy": 0.5, "parameters": 30000}
    with (tmp_path / "run" / "front.csv").open() as file:
        scores = [(float(row["val_accuracy"]), -float(row["parameters"])) for row in csv.DictReader(file)]
    expected = hypervolume(np.array(scores), np.array([0.5, -30000.0]))
    assert summary["front"]["hypervolume"] == pytest.approx(expected)


def test_other_strategies_say_that_they_go_by_the_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain, both = "output.console=plain", "objective=[val_accuracy,flops]"
    run(tmp_path / "random", "strategy=random", "trials=6", plain, both)
    shown = capsys.readouterr().out
    assert "the strategy uses only val_accuracy; flops: in front.csv and the pictures" in shown
    assert "trials by val_accuracy, flops, hypervolume" in shown
    run(tmp_path / "nsga2", "strategy=nsga2", "trials=6", plain, both)
    assert "uses only val_accuracy" not in capsys.readouterr().out
    run(tmp_path / "one", "strategy=random", "trials=6", plain)
    assert "front" not in capsys.readouterr().out
    assert not (tmp_path / "one" / "front.csv").exists()
    assert "front" not in json.loads((tmp_path / "one" / "summary.json").read_text())
    # What a strategy with one objective does is not changed by the others.
    assert (tmp_path / "one" / "genomes.txt").read_bytes() == (tmp_path / "random" / "genomes.txt").read_bytes()


def test_the_front_is_drawn_with_a_panel_for_each_objective_after_the_first(whole: Path) -> None:
    setup, found = build(composed()), read_run(whole).trials
    one = [Objective("flops", "min")]
    for others, panels in ((TWO.others, 1), ((*TWO.others, *one), 2)):
        objective = replace(TWO, others=tuple(others))
        figures = draw_plots(whole, found, setup.space, objective, {})
        assert len(figures["front"].axes) == panels
        assert "accuracy_parameters" not in figures, "the picture of the front shows it"
        headings, *rows = plot_data("front", found, objective)
        assert headings == ["trial", *(each.metric for each in objective.all), "on_front"]
        on_front = [row[0] for row in rows if row[-1]]
        assert on_front == sorted(entry.trial.number for entry in front_of(found, objective))
        assert len(rows) == sum(entry.status == "ok" for entry in found.values())
    assert "front" not in draw_plots(whole, found, setup.space, Objective(), {})
    assert "front" in CAPTIONS


def job(setup: Any, number: int = 0, repeat: int = 0) -> Job:
    rng = np.random.default_rng(number)
    return Job(Trial(number, Proposal(setup.space.sample(rng))), repeat, 1)


def test_every_part_of_an_evaluator_is_that_of_the_one_within() -> None:
    parts = {name for name in vars(Evaluator) if not name.startswith("_")}
    assert parts <= {*vars(EvaluatorWrapper), *Evaluator.__annotations__}, "EvaluatorWrapper has to hand it on"
    setup = setup_of("objective.metric=latency_ms", "evaluator.repeats=3")
    assert isinstance(setup.evaluator, WithCosts)
    assert setup.evaluator.repeats == 3
    seen: list[object] = []
    setup.evaluator.on_progress = seen.append
    assert setup.evaluator.inner.on_progress == seen.append


def test_latency_is_measured_once_per_architecture_and_draws_nothing_from_torch() -> None:
    import torch

    setup = setup_of("search_space=mlp", "objective.metric=[val_accuracy,latency_ms]", *ALONE)
    facts = setup.evaluator.prepare()
    assert facts["latency"] == {"by": "pytorch", "device": "cpu", "threads": 1, "images": 1}
    before = torch.random.get_rng_state()
    first, again, other = setup.evaluator.evaluate([job(setup), job(setup, 0, 1), job(setup, 1)])
    assert torch.equal(torch.random.get_rng_state(), before)
    assert first.metrics["latency_ms"] == again.metrics["latency_ms"] > 0
    assert other.metrics["latency_ms"] != first.metrics["latency_ms"]
    assert first.seconds > 0.001, "the time that it took is told"
    plain = setup_of("search_space=mlp").evaluator
    assert next(iter(plain.evaluate([job(setup)]))).metrics == {
        name: value for name, value in first.metrics.items() if name != "latency_ms"
    }


def test_latency_is_measured_with_the_threads_on_record(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    setup = setup_of("search_space=mlp", "objective.metric=[val_accuracy,latency_ms]", "hardware.device=cpu")
    before = torch.get_num_threads()
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {0, 1, 2}, raising=False)
    facts = setup.evaluator.prepare()
    assert facts["latency"] == {"by": "pytorch", "device": "cpu", "threads": 3, "images": 1}
    monkeypatch.undo()
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {0}, raising=False)
    assert setup.evaluator.prepare(facts) == facts  # a run that goes on with fewer cores
    assert torch.get_num_threads() == 3
    torch.set_num_threads(before)


class Untouched(Synthetic):
    """Counts the jobs that are measured."""

    jobs = 0

    def evaluate(self, jobs: Any) -> Any:
        self.jobs += len(jobs)
        return super().evaluate(jobs)


def test_a_network_over_the_limit_is_not_measured() -> None:
    setup = setup_of("search_space=mlp", *ALONE)
    inner = Untouched(setup.space, setup.dataset, setup.hardware)
    for limit, status in ((1e-6, "infeasible"), (1e6, "ok")):
        limited = WithCosts(inner, setup.space, setup.dataset.task, setup.hardware, ["latency_ms"], limit)
        limited.prepare()
        [found] = limited.evaluate([job(setup)])
        assert found.status == status
        assert inner.jobs == (status == "ok")
        if status == "infeasible":
            assert found.metrics == {}
            assert found.error is not None
            assert found.error.startswith("latency_ms ")
            assert found.error.endswith(": over constraints.latency_ms=1e-06; not trained")


def test_networks_over_the_limit_are_no_failures_in_a_row(tmp_path: Path) -> None:
    limit = ("search_space=mlp", "constraints.latency_ms=0.000001", "max_failures=1", "trials=3", "deduplicate=never")
    with pytest.raises(RunError, match="no trial succeeded"):
        run(tmp_path / "run", "strategy=nsga2", "strategy.population=2", *limit)
    with (tmp_path / "run" / "trials.csv").open() as file:
        assert [row["status"] for row in csv.DictReader(file)] == ["infeasible"] * 3


def test_a_resumed_run_goes_by_the_latencies_on_record(tmp_path: Path) -> None:
    words = ("strategy=nsga2", "strategy.population=3", "search_space=mlp", "objective=[val_accuracy,latency_ms]")
    run(tmp_path / "run", *words, "trials=4")
    path = tmp_path / "run" / journal.NAME
    lines = path.read_bytes().splitlines(keepends=True)
    kept = lines[: len(lines) * 2 // 3]
    path.write_bytes(b"".join(kept))
    resume(tmp_path / "run", {})
    events = [event for event in journal.read(path) if event["event"] == "measure"]
    assert b"".join(kept) == b"".join(path.read_bytes().splitlines(keepends=True)[: len(kept)])
    assert len(events) == 4
    assert all(event["metrics"]["latency_ms"] > 0 for event in events)


def test_a_worker_measures_the_latency_too() -> None:
    config = composed("search_space=mlp", "constraints.latency_ms=1000")
    facts = build(config).evaluator.prepare()
    evaluator, _ = rebuild(build(config).config)
    assert isinstance(evaluator, WithCosts)
    evaluator.prepare(facts)
    [found] = evaluator.evaluate([job(build(config))])
    assert found.metrics["latency_ms"] > 0


def test_training_begins_only_within_the_limit() -> None:
    words = (
        "dataset=synthetic",
        "evaluator=train",
        "evaluator.epochs=1",
        "search_space=mlp",
        "search_space.widths=[8]",
    )
    for limit in (1e-6, 1e6):
        setup = build(task_config(compose_config([*words, *ALONE, f"constraints.latency_ms={limit}"])))
        setup.evaluator.prepare(None)
        [found] = setup.evaluator.evaluate([job(setup)])
        assert (found.status, len(found.history)) == (("infeasible", 0) if limit < 1 else ("ok", 1))


def test_an_evaluator_without_prices_can_be_asked_for_them() -> None:
    setup = setup_of()
    inner = Synthetic(setup.space, setup.dataset, setup.hardware)
    inner.metrics = ("val_accuracy",)
    priced = WithCosts(inner, setup.space, setup.dataset.task, setup.hardware, ["flops"])
    assert priced.metrics == ("val_accuracy", "flops")
    assert priced.prepare() == {}, "no torch, no device: a price is a formula"
    wanted = job(setup)
    cost = setup.space.cost(wanted.trial.proposal.genome, setup.dataset.task)
    assert next(priced.evaluate([wanted])).metrics["flops"] == cost.flops


def test_weights_that_are_shared_have_no_latency() -> None:
    words = ("dataset=synthetic", "evaluator=supernet", "search_space=macro_cnn")
    for more in ("constraints.latency_ms=5", "objective=[val_accuracy,latency_ms]"):
        with pytest.raises(ConfigError, match="shared weights have no latency"):
            build(task_config(compose_config(in_full([*words, more]))))

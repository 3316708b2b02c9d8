"""Which runs a comparison takes, how it groups them, what it refuses, and the numbers that come of it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf

from nasrun.config.compose import compose_config, task_config
from nasrun.core.options import ConfigError
from nasrun.reports.compare import statistics
from nasrun.reports.compare.checklist import as_markdown, checklist
from nasrun.reports.compare.curves import time_curves, trial_curves
from nasrun.reports.compare.numbers import budget, incumbent, measures, random_average
from nasrun.reports.compare.runs import benchmark_hash, compare_runs, find_runs, read_compared
from nasrun.runner.run import start
from nasrun.storage import journal
from tests.reports.landscape import LANDSCAPE
from tests.support import made_run

QUIET = (*LANDSCAPE, "trials=14")


def run(directory: Path, strategy: str, seed: int, *words: str) -> Path:
    config = task_config(compose_config([f"strategy={strategy}", f"seed={seed}", *QUIET, *words]))
    choices = {"strategy": strategy, "evaluator": "synthetic", "dataset": "synthetic", "search_space": "sequential_cnn"}
    start(config, directory, unique=False, choices=choices)
    return directory


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two strategies with three seeds each."""
    folder = tmp_path_factory.mktemp("sweep")
    for number, (strategy, seed) in enumerate((s, n) for s in ("random", "aging_evolution") for n in range(3)):
        small = ("strategy.population=4", "strategy.sample=2") if strategy == "aging_evolution" else ()
        run(folder / f"{number}_{strategy}", strategy, seed, *small)
    return folder


def test_runs_are_found_once_and_in_the_order_of_numbers(sweep: Path, tmp_path: Path) -> None:
    for name in ("10_a", "9_a"):
        shutil.copytree(sweep / "0_random", tmp_path / name)
    assert [path.name for path in find_runs([tmp_path, tmp_path / "9_a"])] == ["9_a", "10_a"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=r"holds no run, nor does a folder in it \(no journal\.jsonl\)$"):
        find_runs([tmp_path / "empty"])


def test_groups_are_strategies_and_their_runs_are_by_seed(sweep: Path) -> None:
    comparison = compare_runs([sweep])
    assert {name: [r.seed for r in group] for name, group in comparison.groups.items()} == {
        "random": [0, 1, 2],
        "aging_evolution": [0, 1, 2],
    }
    assert comparison.by == ["strategy"]
    assert comparison.seeds == [0, 1, 2]
    assert any(remark.startswith("fewer than 5 seeds") for remark in comparison.remarks)


def test_the_final_value_is_that_of_the_run(sweep: Path) -> None:
    comparison = compare_runs([sweep])
    [measure] = measures(comparison)
    for group, runs in comparison.groups.items():
        for compared in runs:
            best = json.loads((compared.directory / "best.json").read_text())["metrics"]["val_accuracy"]
            assert measure.values[group][compared.seed] == best
    for row in measure.rows:
        numbers = np.array(list(measure.values[row.group].values()))
        assert row.mean == pytest.approx(numbers.mean())
        assert row.iqm == pytest.approx(statistics.interquartile_mean(numbers))
        assert row.low <= row.mean <= row.high
        assert row.best == numbers.max()
    assert [row.mean for row in measure.rows] == sorted((row.mean for row in measure.rows), reverse=True)
    assert sum(row.rank or 0 for row in measure.rows) == 3
    [test] = measure.tests
    assert (test.pairs, test.p) == (3, test.p_holm)
    assert test.first == measure.rows[0].group


def test_random_architectures_count_once(sweep: Path) -> None:
    comparison = compare_runs([sweep])
    drawn: dict[tuple, float] = {}
    for compared in comparison.runs:
        for event in journal.read(compared.directory / journal.NAME):
            if event["event"] == "ask":
                samples = [p for p in event["proposals"] if p.get("origin", "sample") == "sample"]
                drawn |= {tuple(p["genome"]): 0.0 for p in samples}
    average = random_average(comparison)
    assert average is not None
    assert average[1] == len(drawn)
    assert average[0] < measures(comparison)[0].rows[-1].mean


def test_curves_are_the_best_so_far(sweep: Path) -> None:
    comparison = compare_runs([sweep])
    for curves in (trial_curves(comparison), time_curves(comparison)):
        for group, curve in curves.items():
            assert (np.diff(curve.mean) >= -1e-12).all()
            assert (curve.low <= curve.mean + 1e-12).all()
            assert (curve.mean <= curve.high + 1e-12).all()
            ends = [incumbent(r)[-1] for r in comparison.groups[group]]
            assert curve.mean[-1] == pytest.approx(np.mean(ends))
    assert len(trial_curves(comparison)["random"].x) == 14


def test_a_metric_of_which_less_is_better(sweep: Path, tmp_path: Path) -> None:
    for seed in (0, 1):
        for strategy in ("random", "aging_evolution"):
            run(tmp_path / f"{strategy}{seed}", strategy, seed, "objective.metric=parameters")
    comparison = compare_runs([tmp_path])
    [measure] = measures(comparison)
    assert measure.mode == "min"
    assert measure.rows[0].mean <= measure.rows[1].mean
    assert (measure.rows[0].rank or 0) <= (measure.rows[1].rank or 0)
    assert all((row.gain or 0) > 0 for row in measure.rows)
    assert measure.tests[0].difference <= 0 <= measure.tests[0].cohen_d


@pytest.mark.parametrize(
    ("word", "key", "values"),
    [
        ("evaluator.landscape=3", "evaluator.landscape", ("0", "3")),
        ("dataset.split_seed=1", "dataset.split_seed", ("0", "1")),
        ("objective.metric=parameters", "objective.metric", ("val_accuracy", "parameters")),
        ("search_space.max_depth=5", "search_space.max_depth", ("6", "5")),
        ("constraints.parameters=100000", "constraints.parameters", ("null", "100000")),
    ],
)
def test_another_benchmark_is_refused_by_name(
    word: str, key: str, values: tuple[str, str], sweep: Path, tmp_path: Path
) -> None:
    run(tmp_path / "other", "random", 7, word)
    with pytest.raises(ConfigError) as refusal:
        compare_runs([sweep, tmp_path / "other"])
    text = str(refusal.value)
    assert text.startswith(f"{key}: {values[0]} in {sweep / '0_random'} but {values[1]} in {tmp_path / 'other'}")
    assert "\n" not in text
    one, other = read_compared(sweep / "0_random"), read_compared(tmp_path / "other")
    assert not isinstance(one, str)
    assert not isinstance(other, str)
    assert benchmark_hash(one) != benchmark_hash(other)
    if not key.startswith(("dataset", "objective")):
        by = compare_runs([sweep / "0_random", tmp_path / "other"], [key])
        assert list(by.groups) == [f"{key.split('.')[-1]}={value}" for value in values]


def test_where_the_data_lie_is_not_part_of_the_benchmark(sweep: Path, tmp_path: Path) -> None:
    one = read_compared(sweep / "0_random")
    shutil.copytree(sweep / "1_random", tmp_path / "moved")
    config = OmegaConf.load(tmp_path / "moved" / ".hydra" / "config.yaml")
    OmegaConf.update(config, "dataset.root", "/elsewhere", force_add=True)
    OmegaConf.save(config, tmp_path / "moved" / ".hydra" / "config.yaml")
    other = read_compared(tmp_path / "moved")
    assert not isinstance(one, str)
    assert not isinstance(other, str)
    assert benchmark_hash(one) == benchmark_hash(other)


def test_what_differs_tells_the_groups_apart(tmp_path: Path) -> None:
    for population in (3, 5):
        for seed in (0, 1):
            words = (f"strategy.population={population}", "strategy.sample=2")
            run(tmp_path / f"{population}_{seed}", "aging_evolution", seed, *words)
    comparison = compare_runs([tmp_path])
    assert list(comparison.groups) == ["population=3", "population=5"]
    with pytest.raises(
        ConfigError, match=r"both are aging_evolution with seed=0; separate them: by=strategy,strategy\."
    ):
        compare_runs([tmp_path], ["strategy"])
    both = compare_runs([tmp_path], ["strategy", "strategy.population"])
    assert list(both.groups) == ["aging_evolution, population=3", "aging_evolution, population=5"]
    for key, said in (("strategy.popul", "did you mean strategy.population?"), ("seed", "cannot be compared")):
        with pytest.raises(ConfigError, match=said):
            compare_runs([tmp_path], [key])


def test_recipes_can_be_compared_and_are_no_part_of_the_method(tmp_path: Path) -> None:
    words = ["evaluator=train", "dataset=synthetic", "dataset.samples=40", "dataset.height=8", "dataset.width=8"]
    words += ["strategy=random", "trials=1", "evaluator.epochs=1", "evaluator.final_epochs=null", "hardware=cpu"]
    words += ["search_space=sequential_cnn"]
    words += ["output.plots=false", "output.console=none", "hardware.threads=1", "search_space.max_depth=3"]
    for recipe in ("plain", "auto"):
        for seed in (0, 1):
            config = task_config(compose_config([*words, f"recipe={recipe}", f"seed={seed}"]))
            start(config, tmp_path / f"{recipe}{seed}", unique=False, choices={"strategy": "random", "recipe": recipe})
    comparison = compare_runs([tmp_path], ["recipe"])
    assert set(comparison.groups) == {"plain", "auto"}
    assert not any("different recipe" in remark for remark in comparison.remarks)
    with pytest.raises(ConfigError, match=r"^evaluator\.batch_size: auto in .* but 128 in "):
        compare_runs([tmp_path])


def test_a_run_given_twice_under_two_names_is_refused(sweep: Path, tmp_path: Path) -> None:
    shutil.copytree(sweep / "0_random", tmp_path / "copy")
    with pytest.raises(ConfigError, match="both are random with seed=0; leave one of them out"):
        compare_runs([sweep, tmp_path / "copy"])


def cut_short(directory: Path, events: int) -> None:
    """Leave the first events of a journal alone, as a killed run does."""
    path = directory / journal.NAME
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:events]))


def test_unfinished_and_damaged_runs_are_left_out_and_named(sweep: Path, tmp_path: Path) -> None:
    for name in ("whole", "cut", "damaged"):
        shutil.copytree(sweep / "0_random", tmp_path / name)
    cut_short(tmp_path / "cut", 12)
    path = tmp_path / "damaged" / journal.NAME
    path.write_bytes(path.read_bytes().replace(b'"measure"', b'"measore"', 1))
    comparison = compare_runs([tmp_path])
    assert len(comparison.runs) == 1
    assert [remark.split(": ", 1)[0] for remark in comparison.remarks[:2]] == [
        f"left out {tmp_path / 'cut'}",
        f"left out {tmp_path / 'damaged'}",
    ]
    assert "not finished" in comparison.remarks[0]
    assert "is damaged" in comparison.remarks[1]
    with pytest.raises(ConfigError, match=r"^no finished run: left out"):
        compare_runs([tmp_path / "cut"])


def test_unequal_budgets_are_compared_after_the_smaller(sweep: Path, tmp_path: Path) -> None:
    run(tmp_path / "long", "random", 9, "trials=30")
    comparison = compare_runs([sweep, tmp_path / "long"])
    assert budget(comparison) == 14
    assert any("compared after 14" in remark for remark in comparison.remarks)
    long = next(r for r in comparison.runs if r.seed == 9)
    assert measures(comparison)[0].values["random"][9] == incumbent(long)[13]
    by_trials = compare_runs([sweep / "0_random", tmp_path / "long"], ["trials"])
    assert list(by_trials.groups) == ["trials=14", "trials=30"]
    assert budget(by_trials) == 30


def test_failed_trials_have_no_value(tmp_path: Path) -> None:
    run(tmp_path / "failing", "random", 3, "evaluator.fail_rate=0.5", "max_failures=null")
    compared = read_compared(tmp_path / "failing")
    assert not isinstance(compared, str)
    assert 0 < np.isnan(compared.values).sum() < 14
    best = incumbent(compared)
    assert np.nanmax(compared.values) == best[-1]


def test_a_single_group_has_a_table_and_no_tests(sweep: Path) -> None:
    comparison = compare_runs([sweep / "0_random", sweep / "1_random"])
    [measure] = measures(comparison)
    assert [row.rank for row in measure.rows] == [None]
    assert not measure.tests
    assert measure.friedman is None
    [alone] = measures(compare_runs([sweep / "0_random"]))
    assert alone.rows[0].deviation is None
    assert alone.rows[0].low == alone.rows[0].high == alone.rows[0].mean


def test_the_checklist_answers_from_the_records(sweep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def replies(*folders: Path, by: tuple[str, ...] = ()) -> dict[str, str]:
        return {answer.question.split("?")[0]: answer.reply for answer in checklist(compare_runs(folders, by))}

    found = replies(sweep)
    assert found["Is random search among the methods"] == "yes"
    assert found["Several runs of each method, with their seeds"] == "no"
    assert found["How were the options of the methods tuned, and at what cost"] == "unknown"
    assert found["A benchmark with known results for thorough evaluation"] == "no"
    assert replies(sweep / "3_aging_evolution")["Is random search among the methods"] == "no"
    place = "Same hardware, versions and precision for all methods"
    assert found[place] == "yes"
    shutil.copytree(sweep / "0_random", tmp_path / "elsewhere")
    path = tmp_path / "elsewhere" / journal.NAME
    header, *rest = journal.read(path)
    header["environment"]["processor"] = "another"
    path.write_bytes(b"".join(journal.line_of({k: v for k, v in e.items() if k != "crc"}) for e in [header, *rest]))
    assert replies(sweep / "1_random", tmp_path / "elsewhere")[place] == "no"
    words = ("strategy.population=7", "strategy.sample=2")
    run(tmp_path / "other", "aging_evolution", 5, *words)
    ablation = "Is each part of a method shown to matter (ablation)"
    assert replies(sweep / "4_aging_evolution", tmp_path / "other")[ablation] == "yes"
    text = as_markdown(checklist(compare_runs([sweep])))
    assert text.count("| **yes** |") + text.count("| **no** |") + text.count("| **unknown** |") == 16


def test_a_table_without_times_has_no_times(tmp_path: Path) -> None:
    """What took milliseconds is a look-up, and not the search."""
    words = ["search_space=nasbench201", "evaluator=table", "trials=4", "output.plots=false", "output.console=none"]
    for seed in (0, 1):
        config = task_config(compose_config([f"seed={seed}", "strategy=random", *words]))
        start(config, tmp_path / str(seed), unique=False, choices={"strategy": "random", "evaluator": "table"})
    comparison = compare_runs([tmp_path])
    assert time_curves(comparison) == {}
    assert "no training times in table nasbench201: there are no curves over time" in comparison.remarks
    found = {answer.question: answer for answer in checklist(comparison)}
    time = found["Is the time of the whole search given, final training included?"]
    assert (time.reply, "table nasbench201 holds no training times" in time.evidence) == ("no", True)
    training = found["Are the training settings of the final networks, and their seeds, recorded?"]
    assert (training.reply, training.evidence[:24]) == ("unknown", "nothing was trained here")
    assert "no training times" in found["Is performance shown over time, not only at the end?"].evidence


def test_a_table_with_times_has_curves_over_them(tmp_path: Path) -> None:
    words = ["search_space=nasbench101", "evaluator=table", "trials=4", "output.plots=false", "output.console=none"]
    made_run(tmp_path / "run", "strategy=random", *words)
    comparison = compare_runs([tmp_path])
    assert time_curves(comparison)
    found = {answer.question: answer.reply for answer in checklist(comparison)}
    assert found["Is the time of the whole search given, final training included?"] == "yes"

"""What a comparison is asked besides its groups: several benchmarks, parts of runs, other tests, print."""

import re
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from nasrun.config.compose import compose_config, task_config
from nasrun.core.options import ConfigError
from nasrun.reports.compare import tables
from nasrun.reports.compare.anytime import optimum, progress, regret_curves
from nasrun.reports.compare.curves import epoch_curves, hypervolume_curves, trial_curves
from nasrun.reports.compare.further_plots import attainment, draw_further
from nasrun.reports.compare.look import PLAIN_LOOK
from nasrun.reports.compare.numbers import front_volumes, incumbent, measures
from nasrun.reports.compare.over import cells, compare_over
from nasrun.reports.compare.question import PLAIN, Cut, Question
from nasrun.reports.compare.runs import compare_runs, compare_selected, find_runs, selected
from nasrun.runner.run import start
from tests.reports.table_sweeps import DATASETS, QUIET, SEEDS, TABLE, run


def test_a_refusal_names_the_data_sets_and_what_to_type(three_tables: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        compare_runs([three_tables])
    assert str(caught.value).endswith(
        "; there are 3 data sets (cifar10, cifar100, imagenet16): all at once: over=dataset, or one of them: "
        "where=dataset=cifar10"
    )
    runs, remarks = selected([three_tables], {"dataset": ["cifar10"]})
    assert len(compare_selected(runs, remarks).runs) == 2 * SEEDS
    assert (
        len(
            compare_over(
                runs + selected([three_tables], {"dataset": ["cifar100"]})[0], [], ["dataset"], [], PLAIN
            ).benchmarks
        )
        == 2
    )


def test_a_refusal_names_all_that_differs(three_tables: Path, tmp_path: Path) -> None:
    """What is suggested works, also where runs differ in several keys of the benchmark."""
    for place in three_tables.glob("*_[01]"):
        (tmp_path / place.name).symlink_to(place)
    for dataset in DATASETS:
        for seed in range(2):
            run(
                tmp_path / f"{dataset}_12_{seed}",
                "random",
                seed,
                *TABLE,
                "trials=20",
                "evaluator.epochs=12",
                dataset=dataset,
            )
    with pytest.raises(ConfigError) as caught:
        compare_runs([tmp_path])
    advice = "over=dataset,evaluator.epochs, or one of them: where=dataset=cifar10 where=evaluator.epochs=12"
    values = "3 data sets (cifar10, cifar100, imagenet16) and 2 values of evaluator.epochs (12, null)"
    assert str(caught.value).endswith(f"; there are {values}: all at once: {advice}")
    assert len(compare_over(*selected([tmp_path]), ["dataset", "evaluator.epochs"], [], PLAIN).benchmarks) == 6
    runs, remarks = selected([tmp_path], {"dataset": ["cifar10"], "evaluator.epochs": ["12"]})
    assert len(compare_selected(runs, remarks).runs) == 2


def test_ranks_over_benchmarks_are_those_of_their_means(three_tables: Path) -> None:
    found = compare_over(*selected([three_tables]), ["dataset"], [], PLAIN)
    assert list(found.benchmarks) == list(DATASETS)
    objective = found.measures[0]
    means = {name: {row.group: row.mean for row in one.rows} for name, one in objective.columns.items()}
    matrix = np.array([[means[name][group] for group in ("random", "local_search")] for name in DATASETS])
    expected = stats.rankdata(-matrix, axis=1).mean(axis=0)
    ranks = {row.group: row.rank for row in objective.ranks.rows}
    assert [ranks["random"], ranks["local_search"]] == expected.tolist()
    assert objective.ranks.critical_difference == pytest.approx(1.960 * np.sqrt(2 * 3 / (6 * 3)), abs=0.01)
    head, *body = cells(objective)
    assert head[1:4] == tuple(f"{name}: val_accuracy (%)" for name in DATASETS)
    assert body[0][0] == min(ranks, key=lambda group: ranks[group])
    assert any("ranks over 3 benchmarks say little" in line for line in found.remarks)


def test_benchmarks_of_several_keys(three_tables: Path, tmp_path: Path) -> None:
    """A key that follows from the others is not asked for."""
    for seed in range(2):
        words = ("search_space=nasbench101", "evaluator=table", "evaluator.table=ec_nas", "trials=20", *QUIET)
        config = task_config(compose_config(["strategy=random", f"seed={seed}", *words]))
        choices = {"strategy": "random", "dataset": "cifar10", "search_space": "nasbench101", "evaluator": "table"}
        start(config, tmp_path / f"ec_{seed}", unique=False, choices=choices)
    folders = [tmp_path, *three_tables.glob("cifar10_random_*"), *three_tables.glob("cifar100_random_*")]
    with pytest.raises(ConfigError) as caught:
        compare_runs(folders)
    said = str(caught.value)
    assert said.startswith("search_space: nasbench101 in ")
    assert "all at once: over=search_space,dataset, or one of them: " in said
    with pytest.raises(ConfigError, match="all at once: over=search_space,dataset, or"):
        compare_over(*selected(folders), ["search_space"], [], PLAIN)
    found = compare_over(*selected(folders), ["search_space", "dataset"], [], PLAIN)
    assert list(found.benchmarks) == ["nasbench101/cifar10", "nasbench201/cifar10", "nasbench201/cifar100"]


def test_links_are_followed_and_loops_are_not(three_tables: Path, tmp_path: Path) -> None:
    (tmp_path / "links").mkdir()
    for number, place in enumerate(sorted(three_tables.glob("cifar10_random_*"))):
        (tmp_path / "links" / str(number)).symlink_to(place)
    (tmp_path / "links" / "back").symlink_to(tmp_path)
    assert len(find_runs([tmp_path])) == SEEDS
    assert len(compare_runs([tmp_path / "links"]).runs) == SEEDS


def test_cuts_are_the_best_until_then(one_table: list[Path]) -> None:
    comparison = compare_runs(one_table)
    found = measures(comparison, Question(cuts=(Cut("trials", 5), Cut("trials", 20))))
    assert [measure.name for measure in found[:2]] == ["val_accuracy_at_5_trials", "val_accuracy_at_20_trials"]
    for place in comparison.groups["random"]:
        assert found[0].values["random"][place.seed] == incumbent(place)[4]
    assert found[1].rows == measures(comparison)[0].rows
    assert found[0].tests[0].p_holm == found[0].tests[0].p, "each table is corrected by itself"
    for cut, said in (
        (Cut("seconds", 5), "the table holds no training times"),
        (Cut("trials", 21), "longest run has 20"),
    ):
        with pytest.raises(ConfigError, match=said):
            measures(comparison, Question(cuts=(cut,)))


def test_tests_are_those_of_scipy(one_table: list[Path]) -> None:
    comparison = compare_runs(one_table)
    values = measures(comparison)[0].values
    first, second = (np.array(list(values[group].values())) for group in ("local_search", "random"))
    [wilcoxon] = measures(comparison, Question(test="wilcoxon"))[0].tests
    assert wilcoxon.p == stats.wilcoxon(first, second).pvalue
    [whitney] = measures(comparison, Question(test="mannwhitney"))[0].tests
    assert whitney.p == stats.mannwhitneyu(first, second).pvalue


def test_a_test_without_pairs_needs_no_common_seeds(three_tables: Path) -> None:
    places = [
        *(three_tables / f"cifar10_random_{seed}" for seed in (0, 1)),
        *three_tables.glob("cifar10_local_search_[23]"),
    ]
    comparison = compare_runs(places)
    assert not measures(comparison)[0].tests, "nothing to pair"
    assert any("test=mannwhitney" in line for line in comparison.remarks)
    found = measures(comparison, Question(test="mannwhitney"))[0]
    [test] = found.tests
    first, second = (np.array(list(found.values[group].values())) for group in (test.first, test.second))
    assert test.p == test.p_holm == stats.mannwhitneyu(first, second).pvalue
    assert test.difference == pytest.approx(first.mean() - second.mean())
    # Student's t is the effect size times a function of the sizes.
    assert test.cohen_d == pytest.approx(stats.ttest_ind(first, second).statistic * np.sqrt(1 / 2 + 1 / 2))
    assert test.a12 == stats.mannwhitneyu(first, second).statistic / 4


def test_a_reference_makes_fewer_pairs(tmp_path: Path) -> None:
    for population in (2, 3, 4):
        for seed in range(2):
            words = (f"strategy.population={population}", "strategy.sample=2", "trials=8", *TABLE)
            run(tmp_path / f"{population}_{seed}", "aging_evolution", seed, *words)
    comparison = compare_runs([tmp_path], ["strategy.population"])
    assert len(measures(comparison)[0].tests) == 3
    tests = measures(comparison, Question(reference="population=2"))[0].tests
    assert len(tests) == 2
    assert all("population=2" in (test.first, test.second) for test in tests)


def test_regret_and_the_way_to_a_target(one_table: list[Path]) -> None:
    comparison = compare_runs(one_table)
    best = optimum(comparison)
    assert best == pytest.approx(0.91606667, abs=1e-7)
    curves = trial_curves(comparison)
    regrets = regret_curves(comparison, curves)
    assert regrets["random"].mean.tolist() == (best - curves["random"].mean).tolist()
    assert (regrets["random"].low <= regrets["random"].high).all()
    target = float(np.median([incumbent(place)[-1] for place in comparison.runs]))
    for found in progress(comparison, target):
        expected = []
        for place in comparison.groups[found.group]:
            there = np.flatnonzero(incumbent(place) >= target)
            expected.append(int(there[0]) + 1 if len(there) else None)
        assert list(found.reached) == expected
        assert found.area == pytest.approx([incumbent(place).mean() for place in comparison.groups[found.group]])
    assert sum(found.count for found in progress(comparison, target)) == SEEDS


def test_steps_of_trainings_count_by_their_epochs(tmp_path: Path) -> None:
    for seed in range(2):
        run(tmp_path / f"asha_{seed}", "asha", seed, "strategy.budgets=[12,200]", "trials=12", *TABLE)
        run(tmp_path / f"random_{seed}", "random", seed, "trials=3", *TABLE)
    comparison = compare_runs([tmp_path])
    asha = comparison.groups["asha"][0]
    assert asha.epochs is not None
    steps = np.diff(np.concatenate([[0], asha.epochs]))
    assert set(steps.tolist()) <= {12.0, 188.0, 0.0}
    assert (comparison.groups["random"][0].epochs == np.array([200.0, 400.0, 600.0])).all()
    assert set(epoch_curves(comparison)) == {"asha", "random"}
    assert any("are steps of training runs" in remark for remark in comparison.remarks)
    cut = measures(comparison, Question(cuts=(Cut("epochs", 250),)))[0]
    assert cut.values["random"][0] == comparison.groups["random"][0].values[0]


def test_several_objectives_have_a_hypervolume(tmp_path: Path) -> None:
    pytest.importorskip("pymoo", reason="pymoo is not installed")
    from pymoo.indicators.hv import HV

    words = ("objective.metric=[val_accuracy,parameters]", "trials=24", *TABLE)
    for seed in range(2):
        run(tmp_path / f"nsga2_{seed}", "nsga2", seed, "strategy.population=8", *words)
        run(tmp_path / f"random_{seed}", "random", seed, *words)
    comparison = compare_runs([tmp_path])
    volume = next(measure for measure in measures(comparison) if measure.name == "hypervolume")
    everything = np.concatenate([place.scores * [1, -1] for place in comparison.runs if place.scores is not None])
    worst = everything.min(axis=0)
    for group, runs in comparison.groups.items():
        for place in runs:
            assert place.scores is not None
            expected = HV(ref_point=-worst)(-(place.scores * [1, -1]))
            assert volume.values[group][place.seed] == pytest.approx(expected)
    cut = measures(comparison, Question(cuts=(Cut("trials", 8), Cut("trials", 24))))
    by_name = {measure.name: measure for measure in cut}
    assert by_name["hypervolume_at_24_trials"].values == volume.values
    early = next(place for place in comparison.groups["random"] if place.seed == 0)
    assert early.scores is not None
    expected = HV(ref_point=-worst)(-(early.scores * [1, -1])[:8])
    assert by_name["hypervolume_at_8_trials"].values["random"][0] == pytest.approx(expected)
    assert by_name["test_accuracy"].title == "test_accuracy at the end of the runs"
    shown = tables.cells(volume)[1][2]
    assert re.fullmatch(r"\d\d\.\d{3} ± \d+\.\d{3}", shown), "as many digits of the deviation as of the mean"
    assert tables.heading(volume) == f"hypervolume (1e{int(np.log10(volume.rows[0].mean)) - 1})"
    curve = hypervolume_curves(comparison)["nsga2"]
    assert (np.diff(curve.mean) >= 0).all()
    picture = draw_further(comparison, [], PLAIN_LOOK)["front"].axes[0]
    low, high = picture.get_xlim()
    assert picture.get_xlabel() == "val_accuracy (%)"
    highest = 100 * max(np.nanmax(place.scores[:, 0]) for place in comparison.runs if place.scores is not None)
    assert 0 < low < highest < high < 100
    assert front_volumes(compare_runs([tmp_path / "nsga2_0"])) is not None
    scores = np.array([[1.0, 5.0], [3.0, 2.0]])
    assert attainment(scores, np.array([0.0, 2.0, 4.0])).tolist() == [5.0, 2.0, -np.inf]


def test_two_keys_make_a_heat_map(tmp_path: Path) -> None:
    for population in (2, 4):
        for sample in (1, 2):
            words = (f"strategy.population={population}", f"strategy.sample={sample}", "trials=8", *TABLE)
            run(tmp_path / f"{population}_{sample}", "aging_evolution", 0, *words)
    comparison = compare_runs([tmp_path], ["strategy.population", "strategy.sample"])
    figures = draw_further(comparison, measures(comparison)[:1], PLAIN_LOOK)
    axes = figures["heat_val_accuracy"].axes[0]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["2", "4"]
    assert len(axes.texts) == 4

"""Composition: every option file, sweeps, experiments, and the user's own YAML files."""

from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf

from nasrun.config.build import build
from nasrun.config.compose import Composer, Jobs, combined, compose_config, output_directory, own_folders, task_config
from nasrun.config.sections import locate
from nasrun.config.shared_weights import evaluators_that_derive
from nasrun.core import Task
from nasrun.core.config_files import GROUPS, REPRODUCTIONS, conf_dir
from nasrun.core.option_files import option_values
from nasrun.core.options import ConfigError, options
from nasrun.datasets import Dataset
from nasrun.evaluators.train.recipe import KEYS
from tests.support import FITTING

FILES = sorted(
    f"{path.parent.name}={path.stem}"
    for path in conf_dir().glob("*/*.yaml")
    if path.parent.name != REPRODUCTIONS  # no options: tests/reports/test_reproduction.py
)


def needed(choice: str, folder: Path) -> list[str]:
    """The keys that a user must set, for options that do not work at their defaults."""
    if choice == "dataset=arrays":
        np.savez(folder / "data.npz", images=np.zeros((4, 8, 8), np.uint8), labels=np.array([0, 1, 0, 1]))
        return [f"dataset.path={folder / 'data.npz'}"]
    if choice == "dataset=image_folder":
        for name in ("cat", "dog"):
            (folder / name).mkdir()
        return [f"dataset.path={folder}"]
    if choice == "dataset=gap_filling":
        return ["evaluator=synthetic"]  # the networks of the default search space are for classification
    if choice.removeprefix("evaluator=") in ("supernet", *evaluators_that_derive()):
        return ["search_space=micro_cell"]
    if choice == "evaluator=asnn_surrogate":
        return ["search_space=mlp", "dataset=mnist"]
    if choice == "evaluator=table":
        return ["search_space=nasbench201"]
    group, _, option = choice.partition("=")
    return [*FITTING.get(option, ())] if group == "strategy" else []


def jobs_of(words: list[str], own: Path | None = None, *, multirun: bool = False) -> Jobs:
    words, folders = own_folders(words, None if own is None else str(own))
    return Composer(folders).jobs(words, multirun)


def expand(words: list[str], own: Path | None = None) -> list[list[str]]:
    words, folders = own_folders(words, None if own is None else str(own))
    return list(combined(Composer(folders).values(words)))


def test_there_are_options_in_every_group() -> None:
    assert {choice.partition("=")[0] for choice in FILES} == {*GROUPS, "experiment"}


@pytest.mark.parametrize("choice", FILES)
def test_every_option_composes_and_builds(choice: str, tmp_path: Path) -> None:
    group, _, option = choice.partition("=")
    words = [choice, *needed(choice, tmp_path)]
    jobs = Composer().jobs(words)
    for config in jobs.configs:
        assert config.hydra.runtime.choices[group] == option
        assert output_directory(config, sweep=jobs.sweep).parts[0] == "outputs"
        setup = build(task_config(config))
        assert setup.dataset.task.outputs >= 2


@pytest.mark.parametrize("choice", [choice for choice in FILES if not choice.startswith("experiment=")])
def test_every_option_file_lists_all_keys_of_its_class(choice: str) -> None:
    group, _, option = choice.partition("=")
    content = option_values(group, option)
    if group == "recipe":
        assert set(content) == set(KEYS)
        return
    kind = locate(content.pop("_target_"), object, group)
    assert set(content) == set(options(kind))


class Unfinished(Dataset):
    """A user's data set that was begun."""

    @property
    def task(self) -> Task:
        return Task("unfinished", 1, 8, 8, 2)


def test_a_class_that_is_not_finished_is_told_what_it_lacks() -> None:
    path = f"{__name__}.Unfinished"
    with pytest.raises(ConfigError) as refused:
        locate(path, Dataset, "dataset._target_")  # type: ignore[type-abstract]
    wanted = "expected a class that implements nasrun.datasets.Dataset; it lacks read"
    assert str(refused.value) == f"dataset._target_={path}: {wanted}"


@pytest.mark.parametrize("path", sorted((conf_dir() / "experiment").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_key_of_an_experiment_overrides(path: Path) -> None:
    content = OmegaConf.to_container(OmegaConf.load(path))
    assert isinstance(content, dict)
    config = compose_config([f"experiment={path.stem}"])
    for default in content.pop("defaults", []):
        for key, option in default.items():
            assert config.hydra.runtime.choices[key.removeprefix("override /")] == option
    content.pop("hydra", None)
    assert content
    composed = OmegaConf.to_container(task_config(config))
    assert isinstance(composed, dict)
    assert OmegaConf.merge(composed, content) == composed


def test_a_recipe_gives_the_evaluators_keys_their_values_and_the_command_line_wins() -> None:
    def evaluator(*words: str) -> dict[str, object]:
        return dict(build(task_config(compose_config(words))).config["evaluator"])

    plain, strong = evaluator("recipe=plain"), evaluator("recipe=strong")
    assert (plain["optimizer"], plain["schedule"], plain["flip"]) == ("adamw", "one_cycle", False)
    assert (strong["optimizer"], strong["lr"], strong["flip"]) == ("sgd", 0.3, "auto")
    own = evaluator("recipe=strong", "evaluator.lr=0.1", "recipe.momentum=0.8")
    assert own == {**strong, "lr": 0.1, "momentum": 0.8}
    assert all(evaluator("recipe=auto")[key] == "auto" for key in KEYS)


def test_recipes_of_the_users_own(tmp_path: Path) -> None:
    (tmp_path / "recipe").mkdir()
    (tmp_path / "recipe" / "mine.yaml").write_text("defaults: [strong]\nlr: 0.2\n")
    setup = build(task_config(compose_config(["recipe=mine"], str(tmp_path))))
    assert (setup.config["evaluator"]["lr"], setup.config["evaluator"]["optimizer"]) == (0.2, "sgd")
    (tmp_path / "recipe" / "mine.yaml").write_text("defaults: [strong]\nlearning_rate: 0.2\n")
    with pytest.raises(ConfigError, match=r"^recipe\.learning_rate: no such key"):
        build(task_config(compose_config(["recipe=mine"], str(tmp_path))))


def test_a_config_without_recipes_is_as_it_was() -> None:
    config = task_config(compose_config(["recipe=plain"]))
    content = OmegaConf.create(OmegaConf.to_container(config, resolve=True))
    del content["recipe"]  # runs of earlier versions have none
    for key in ("warm_up", "ema", "cutout", "extra_metrics", "teacher"):
        del content["evaluator"][key]
    old, new = build(content).evaluator, build(config).evaluator
    assert old.settings == new.settings  # type: ignore[attr-defined]


def test_command_line_wins_over_an_experiment() -> None:
    config = compose_config(["trials=7", "experiment=smoke", "strategy=random"])
    assert config.trials == 7
    assert config.hydra.runtime.choices.strategy == "random"


def test_expand_holds_every_value_of_every_key() -> None:
    lists = expand(["strategy=random,genetic", "seed=range(0,3)", "trials=5", "search_space.kernels=[1,3],[5]"])
    assert lists[0] == ["strategy=random", "seed=0", "trials=5", "search_space.kernels=[1,3]"]
    assert len(lists) == 1 + 1 + 2 + 1
    assert {words[0] for words in lists} == {"strategy=random", "strategy=genetic"}
    assert {words[1] for words in lists} == {"seed=0", "seed=1", "seed=2"}
    assert {words[2] for words in lists} == {"trials=5"}
    assert {words[3] for words in lists} == {"search_space.kernels=[1,3]", "search_space.kernels=[5]"}


def test_expand_without_several_values_is_the_words_themselves() -> None:
    assert expand(["strategy=random", "+a=1", "~b"]) == [["strategy=random", "+a=1", "~b"]]
    assert expand([]) == [[]]


def test_expand_takes_the_later_of_two_values() -> None:
    assert expand(["seed=0,1", "trials=3", "seed=5"]) == [["seed=5", "trials=3"]]


def test_expand_finds_options_by_pattern(own: Path) -> None:
    names = sorted(path.stem for path in (conf_dir() / "strategy").glob("*.yaml"))
    assert [words[0] for words in expand(["strategy=glob(*)"])] == [f"strategy={name}" for name in names]
    found = [words[0] for words in expand(["strategy=glob(m*)"], own)]
    assert "strategy=mine" in found
    assert "strategy=random" not in found


def test_one_run_is_one_job() -> None:
    jobs = jobs_of(["trials=7", "trials=8"])
    assert (jobs.sweep, jobs.count, jobs.swept) == (False, 1, frozenset())
    assert [config.trials for config in jobs.configs] == [8]


def test_several_values_need_the_flag() -> None:
    with pytest.raises(ConfigError, match=r"^seed=0,1: several values are a sweep; add -m"):
        jobs_of(["seed=0,1"])
    jobs = jobs_of(["seed=0,1", "trials=3"], multirun=True)
    assert (jobs.sweep, jobs.count, jobs.swept) == (True, 2, {"seed"})
    assert [config.seed for config in jobs.configs] == [0, 1]


def test_a_sweep_has_a_run_for_every_combination() -> None:
    jobs = jobs_of(["seed=range(3)", "strategy=random,genetic", "++vars.x=choice(a,b)"], multirun=True)
    assert (jobs.count, jobs.swept) == (12, {"seed", "strategy", "vars.x"})
    assert len(list(jobs.configs)) == 1 + 2 + 1 + 1


def test_experiment_may_be_a_sweep(own: Path) -> None:
    jobs = jobs_of(["experiment=swept", "strategy=random,genetic"], own)
    assert (jobs.sweep, jobs.swept) == (True, {"seed", "strategy"})
    checked = [(config.seed, config.hydra.runtime.choices.strategy) for config in jobs.configs]
    assert checked == [(3, "random"), (4, "random"), (3, "genetic")]


def test_command_line_wins_over_what_an_experiment_sweeps(own: Path) -> None:
    jobs = jobs_of(["experiment=swept", "seed=9"], own)
    assert jobs.sweep
    assert [config.seed for config in jobs.configs] == [9]


def test_config_dir_adds_an_option_and_an_experiment(own: Path) -> None:
    config = compose_config(["strategy=mine", "strategy.population=6", "experiment=own"], str(own))
    assert config.trials == 5
    setup = build(task_config(config))
    assert setup.config["strategy"]["population"] == 6
    assert setup.strategy.initial == 6


def test_config_dir_is_needed_for_it() -> None:
    with pytest.raises(ConfigError, match=r"^strategy=mine: no such option; "):
        compose_config(["strategy=mine"])


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A user's folder of YAML files: a strategy, an experiment, and an experiment that is a sweep."""
    files = {
        "strategy/mine.yaml": "_target_: nasrun.strategies.aging_evolution.AgingEvolution\npopulation: 4\nsample: 2\n",
        "experiment/own.yaml": "# @package _global_\ntrials: 5\n",
        "experiment/swept.yaml": (
            "# @package _global_\ntrials: 5\nhydra:\n  mode: MULTIRUN\n  sweeper:\n    params:\n      seed: 3,4\n"
        ),
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    return tmp_path

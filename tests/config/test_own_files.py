"""The user's own YAML files: those that are read, and the one-line message for each that is invalid."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig

from nasrun.config.build import build
from nasrun.config.compose import Composer, own_folders, task_config
from nasrun.core.options import ConfigError

GOOD = "# @package _global_\ntrials: 3\n"
RANDOM = "_target_: nasrun.strategies.random.Random\n"


def compose(folder: Path, *words: str) -> DictConfig:
    rest, folders = own_folders(list(words), str(folder))
    return Composer(folders).compose(rest)


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / "mine" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "mine"


REFUSED = {
    "byte-order mark": (
        "experiment/e.yaml",
        b"\xef\xbb\xbf" + GOOD.encode(),
        "experiment=e",
        "mine/experiment/e.yaml: starts with a byte-order mark, which hides its first line; save it without (UTF-8)",
    ),
    "no package": (
        "experiment/e.yaml",
        "# an experiment\ntrials: 3\n",
        "experiment=e",
        "mine/experiment/e.yaml: its first line must be: # @package _global_",
    ),
    "the line after another comment": (
        "experiment/e.yaml",
        f"# an experiment\n{GOOD}",
        "experiment=e",
        "mine/experiment/e.yaml: its first line must be: # @package _global_",
    ),
    "no package, and an option of a group": (
        "experiment/e.yaml",
        "defaults:\n  - override /strategy: genetic\n",
        "experiment=e",
        "mine/experiment/e.yaml: its first line must be: # @package _global_",
    ),
    "no package, a group of one's own": (
        "presets/e.yaml",
        "trials: 3\n",
        "+presets=e",
        "mine/presets/e.yaml: its first line must be: # @package _global_",
    ),
    "UTF-16": (
        "experiment/e.yaml",
        GOOD.encode("utf-16"),
        "experiment=e",
        "mine/experiment/e.yaml: is not UTF-8 text (perhaps UTF-16); save it as UTF-8",
    ),
    "UTF-16 without a mark": (
        "strategy/e.yaml",
        RANDOM.encode("utf-16-le"),
        "strategy=e",
        "mine/strategy/e.yaml: is not UTF-8 text (perhaps UTF-16); save it as UTF-8",
    ),
    "Latin-1": (
        "strategy/e.yaml",
        f"# für mich\n{RANDOM}".encode("latin-1"),
        "strategy=e",
        "mine/strategy/e.yaml: is not UTF-8 text (perhaps UTF-16); save it as UTF-8",
    ),
    "the name of an experiment of nasrun's": (
        "experiment/smoke.yaml",
        GOOD,
        "experiment=smoke",
        "mine/experiment/smoke.yaml: is ignored, since nasrun has its own experiment=smoke; rename yours",
    ),
    "the name of the default strategy": (
        "strategy/aging_evolution.yaml",
        RANDOM,
        "trials=3",
        "mine/strategy/aging_evolution.yaml: is ignored, since nasrun has its own strategy=aging_evolution; rename",
    ),
    "another ending": (
        "strategy/e.yml",
        RANDOM,
        "strategy=e",
        "mine/strategy/e.yml: is ignored; its name must end in .yaml",
    ),
    "a value of the wrong kind": (
        "experiment/e.yaml",
        "# @package _global_\nhydra: {sweeper: {params: 3}}\n",
        "experiment=e",
        "In 'experiment/e': ValidationError raised while composing config: ",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_file_that_is_not_read_as_it_is_meant_is_refused(case: str, own: Path, tmp_path: Path) -> None:
    name, content, word, answer = REFUSED[case]
    write(tmp_path, name, content)
    with pytest.raises(ConfigError) as caught:
        compose(own, word)
    assert str(caught.value).startswith(answer)
    assert "\n" not in str(caught.value)


def test_a_main_file_with_the_name_of_nasruns(
    own: Path, nasrun_inprocess: Callable[[str], Any], tmp_path: Path
) -> None:
    write(tmp_path, "config.yaml", "trials: 3\n")
    for words in ("evaluator=synthetic", "--config-name=config evaluator=synthetic"):
        done = nasrun_inprocess(f"--config-dir={own} {words}")
        assert done.returncode == 2
        assert done.stderr == "nasrun: mine/config.yaml: is ignored, since nasrun has its own config; rename yours\n"


def test_a_link_to_nothing_does_not_hide_what_is_wrong(own: Path, tmp_path: Path) -> None:
    write(tmp_path, "strategy/e.yaml", f"# für mich\n{RANDOM}".encode("latin-1"))
    (own / "strategy" / ".#a.yaml").symlink_to("nowhere")  # as editors leave it
    (own / "strategy" / "b.yaml").mkdir()
    with pytest.raises(ConfigError, match=r"^mine/strategy/e\.yaml: is not UTF-8 text"):
        compose(own, "strategy=e")


@pytest.mark.parametrize(
    "start", ["\n\n# @package _global_\n", "#@package  _global_\n", "# @x y\n# @package _global_\r\n"]
)
def test_the_first_line_is_seen_where_hydra_sees_it(start: str, own: Path, tmp_path: Path) -> None:
    write(tmp_path, "experiment/e.yaml", f"{start}trials: 3\n")
    assert compose(own, "experiment=e").trials == 3


def test_a_mark_does_no_harm_where_there_is_no_first_line_to_be_read(own: Path, tmp_path: Path) -> None:
    write(tmp_path, "strategy/e.yaml", b"\xef\xbb\xbf" + RANDOM.encode())
    assert compose(own, "strategy=e").strategy._target_ == "nasrun.strategies.random.Random"


def test_a_file_of_the_same_name_that_is_not_chosen_is_no_obstacle(own: Path, tmp_path: Path) -> None:
    write(tmp_path, "experiment/smoke.yaml", GOOD)
    write(tmp_path, "experiment/mine.yaml", GOOD)
    assert compose(own, "experiment=mine").trials == 3


def test_groups_may_be_nested_and_put_anywhere(own: Path, tmp_path: Path) -> None:
    write(tmp_path, "presets/small/e.yaml", GOOD)
    write(tmp_path, "strategy/sizes/tiny.yaml", "population: 4\nsample: 2\n")
    config = compose(own, "+presets/small=e", "+strategy/sizes@strategy=tiny")
    assert (config.trials, config.strategy.population) == (3, 4)
    assert build(task_config(config)).strategy.initial == 4


def test_an_option_of_a_nested_group_that_there_is_not(own: Path, tmp_path: Path) -> None:
    write(tmp_path, "presets/small/e.yaml", GOOD)
    with pytest.raises(ConfigError, match=r"^presets/small=f: no such option; "):
        compose(own, "+presets/small=f")


def test_the_file_is_named_whose_defaults_list_names_no_option(own: Path, tmp_path: Path) -> None:
    write(tmp_path, "strategy/variant.yaml", "defaults:\n  - agng_evolution\n  - _self_\npopulation: 4\n")
    text = r"strategy/variant\.yaml: its defaults list names strategy=agng_evolution: no such option; did you mean"
    with pytest.raises(ConfigError, match=f"^{text}"):
        compose(own, "strategy=variant")


def test_a_main_file_of_ones_own(own: Path, tmp_path: Path) -> None:
    write(tmp_path, "mine.yaml", "defaults:\n  - config\n  - _self_\ntrials: 3\n")
    words, folders = own_folders(["strategy=random"], str(own))
    config = Composer(folders, "mine").compose(words)
    assert (config.trials, config.hydra.output_subdir) == (3, None)
    assert config.hydra.run.dir.startswith("outputs/")


@pytest.mark.parametrize("name", ["file://{}", "{}"])
def test_a_search_path_is_searched_for_choices(name: str, own: Path, tmp_path: Path) -> None:
    write(tmp_path, "strategy/own.yaml", RANDOM)
    words, folders = own_folders([f"hydra.searchpath=[{name.format(own)}]", "strategy=own"], None)
    composer = Composer(folders)
    assert composer.compose(words).strategy._target_ == "nasrun.strategies.random.Random"
    assert composer.values(["strategy=glob(ow*)"]) == {"strategy": ["strategy=own"]}
    with pytest.raises(ConfigError, match=r"^strategy=owm: no such option; did you mean 'own'\?$"):
        composer.compose(["strategy=owm"])


def test_a_search_path_may_be_relative_and_have_several_folders(own: Path, tmp_path: Path) -> None:
    write(tmp_path, "strategy/own.yaml", RANDOM)
    (tmp_path / "ü (1)" / "experiment").mkdir(parents=True)
    (tmp_path / "ü (1)" / "experiment" / "e.yaml").write_text(GOOD)
    words, folders = own_folders(["hydra.searchpath=[mine,ü (1)]", "strategy=own", "experiment=e"], None)
    assert Composer(folders).compose(words).trials == 3


def test_a_class_outside_of_pythons_path(own: Path, tmp_path: Path) -> None:
    write(tmp_path, "strategy/own.yaml", "_target_: my_strategies.Mine\n")
    (tmp_path / "my_strategies.py").write_text("")
    with pytest.raises(ConfigError) as caught:
        build(task_config(compose(own, "strategy=own")))
    assert str(caught.value) == (
        "strategy._target_=my_strategies.Mine: cannot be imported (No module named 'my_strategies'); its folder must "
        "be on Python's path: PYTHONPATH=FOLDER nasrun ... (FOLDER has my_strategies.py)"
    )

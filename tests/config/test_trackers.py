"""One tracker or several: command line, composed sections, and invalid sections."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from nasrun.config.build import build
from nasrun.config.compose import Composer, combined, compose_config, task_config
from nasrun.config.overrides import in_full
from nasrun.config.trackers import qualified, sections_by_name
from nasrun.core.options import ConfigError
from nasrun.trackers import Tracker

WORDS = ("evaluator=synthetic", "dataset=synthetic")
BOTH = "# @package _global_\ndefaults:\n  - override /tracker: [tensorboard, {}]\ntrials: 7\n"
FLAT = "_target_: nasrun.trackers.tensorboard.TensorBoard\ndetailed: {}\n"


def trackers(*words: str, config_dir: Path | None = None) -> dict[str, Tracker]:
    """The trackers of a command line, by name."""
    config = compose_config(in_full([*WORDS, *words]), None if config_dir is None else str(config_dir))
    return build(task_config(config)).trackers


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder with YAML files of the user's own: two that say nothing of a package, one that does, an experiment."""
    for name, text in {
        "tracker/mine.yaml": FLAT.format(3),
        "tracker/yours.yaml": FLAT.format(4),
        "tracker/named.yaml": "# @package tracker.named\n" + FLAT.format(5),
        "experiment/both.yaml": BOTH.format("named"),
        "experiment/mixed.yaml": BOTH.format("mine"),
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ((), ["csv"]),
        (("tracker=tensorboard",), ["tensorboard"]),
        (("tracker=[csv,tensorboard]",), ["csv", "tensorboard"]),
        (("tracker=[]",), []),
        (("~tracker",), []),
        (("tracker=csv", "+tracker@tracker.more=tensorboard", "tracker.more.detailed=1"), ["csv", "more"]),
    ],
)
def test_as_many_trackers_as_are_chosen(words: tuple[str, ...], names: list[str]) -> None:
    assert list(trackers(*words)) == names


def test_keys_of_several_trackers_stand_below_their_names() -> None:
    made = trackers("tracker=[tensorboard,csv]", "tracker.tensorboard.detailed=7")
    assert made["tensorboard"].detailed == 7  # type: ignore[attr-defined]


def test_the_name_may_be_left_out_where_there_is_one() -> None:
    assert trackers("tracker=tensorboard", "tracker.detailed=7")["tensorboard"].detailed == 7  # type: ignore[attr-defined]
    words = ["tracker=mlflow", "++tracker.uri=a/b", "+tracker.x=1", "tracker.y={z:1}", "~tracker.z", "seed=1"]
    assert in_full(words) == [words[0], "++tracker.mlflow.uri=a/b", *words[2:]]
    for words in (
        ["tracker.uri=x"],
        ["tracker=[csv,mlflow]", "tracker.uri=x"],
        ["tracker=mlflow", "tracker.mlflow.uri=x"],
    ):
        assert in_full(words) == words
    assert qualified("tracker.uri", ["mlflow", "csv"]) == "tracker.uri"
    assert qualified("tracker", ["mlflow"]) == "tracker"
    assert qualified("strategy.tracker", ["mlflow"]) == "strategy.tracker"


def test_several_trackers_are_one_value_of_a_sweep() -> None:
    values = Composer().values([*WORDS, "tracker=[csv,tensorboard],csv"])
    assert [list(trackers(*job)) for job in combined(values)] == [["csv", "tensorboard"], ["csv"]]


def test_files_of_the_users_own_need_a_package_only_beside_others(own: Path) -> None:
    assert trackers("tracker=mine", "tracker.detailed=9", config_dir=own)["tensorboard"].detailed == 9  # type: ignore[attr-defined]
    assert list(trackers("tracker=[csv,named]", config_dir=own)) == ["csv", "named"]
    assert list(trackers("experiment=both", config_dir=own)) == ["tensorboard", "named"]
    for words in (["tracker=[csv,mine]"], ["tracker=[mine,yours]"]):
        with pytest.raises(ConfigError, match=r"mine overwrite the others; start its YAML file with # @package"):
            trackers(*words, config_dir=own)
    with pytest.raises(ConfigError, match="to combine TensorBoard and tensorboard, start the YAML file of"):
        trackers("experiment=mixed", config_dir=own)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("tracker=[csv,tensorbord]",), "tracker=tensorbord: no such option; did you mean 'tensorboard'?"),
        (("tracker=[tensorboard,csv]", "tracker.detailed=3"), "tracker.detailed: no such key; known: csv, tensorboard"),
        (("+tracker.mine=3",), "tracker.mine=3: belongs to no tracker; choose one: tracker=NAME"),
        (("tracker=[tensorboard,csv]", "tracker.tensorboard.detailed=x"), "tracker.tensorboard.detailed=x: expected"),
        (("tracker=3",), "tracker=3: expected the name of an option"),
    ],
)
def test_mistakes_are_named(words: tuple[str, ...], reason: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        trackers(*words)
    assert str(refusal.value).startswith(reason)


def test_a_section_of_a_version_with_one_tracker_is_read() -> None:
    content = OmegaConf.to_container(OmegaConf.create(FLAT.format(3)))
    assert sections_by_name(content) == {"tensorboard": content}
    assert sections_by_name({}) == {}
    assert sections_by_name({"tensorboard": content}) == {"tensorboard": content}
    with pytest.raises(ConfigError, match="tracker=csv: expected keys below tracker"):
        sections_by_name("csv")

"""What TensorBoard shows of a run, and of a sweep."""

import csv
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("tensorboard", reason="checked by the contract test: refused in one line")

from tests.trackers.reading import events, run

TRAINED = (
    "evaluator=train",
    "evaluator.epochs=2",
    "evaluator.batch_size=32",
    "evaluator.repeats=2",
    "dataset.samples=120",
    "dataset.height=8",
    "dataset.width=8",
    "hardware=cpu",
    "hardware.threads=1",
    "search_space.max_depth=3",
    "search_space.filters=[4]",
    "search_space.kernels=[1]",
    "output.plots=true",
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three trained networks, two of which are shown in full besides what is a new best."""
    directory = tmp_path_factory.mktemp("tensorboard") / "run"
    run(directory, "tensorboard", *TRAINED, "trials=3", "tracker.tensorboard.detailed=2")
    return directory


def test_learning_curves_are_those_of_the_table(trained: Path) -> None:
    with open(trained / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    found = events(trained / "tensorboard" / "trial_00001")
    for repeat in ("0", "1"):
        expected = [float(row["train_loss"]) for row in rows if (row["trial"], row["repeat"]) == ("1", repeat)]
        curve = found.Scalars(f"epoch/train_loss/repeat_{repeat}")
        assert [point.step for point in curve] == [1, 2]
        assert [point.value for point in curve] == pytest.approx(expected, rel=1e-6)


def test_settings_of_a_trial_are_on_the_page_of_hyperparameters(trained: Path) -> None:
    from tensorboard.plugins.hparams import metadata

    found = events(trained / "tensorboard" / "trial_00000")
    content = found.PluginTagToContent("hparams")
    begun = metadata.parse_session_start_info_plugin_data(content[metadata.SESSION_START_INFO_TAG])
    genome = (trained / "genomes.txt").read_text().splitlines()[0].partition("\t")[2]
    assert begun.hparams["genome"].string_value == genome
    assert begun.hparams["origin"].string_value == "sample"
    assert "token_00" in begun.hparams
    assert metadata.SESSION_END_INFO_TAG in content
    # With one made by a single trial, the settings that other trials have besides would have no column.
    assert metadata.EXPERIMENT_TAG not in content


def test_the_run_has_the_best_genome_the_pictures_and_the_test(trained: Path) -> None:
    found = events(trained / "tensorboard")
    texts = found.Tensors("best/genome/text_summary")
    genomes = dict(line.split("\t") for line in (trained / "genomes.txt").read_text().splitlines())
    assert texts[0].tensor_proto.string_val[0].decode() == f"`{genomes['0']}`"
    assert set(found.Tags()["images"]) == {f"plots/{path.stem}" for path in (trained / "plots").glob("*.png")}
    assert "final/test_accuracy" in found.Tags()["scalars"]


def test_trials_beyond_the_limit_are_shown_in_full_only_as_a_new_best(tmp_path: Path) -> None:
    run(tmp_path / "run", "tensorboard", "trials=30", "tracker.tensorboard.detailed=3")
    values = events(tmp_path / "run" / "tensorboard").Scalars("best/val_accuracy")
    better = {now.step for before, now in pairwise(values) if now.value > before.value}
    folders = {int(path.name[6:]) for path in (tmp_path / "run" / "tensorboard").glob("trial_*")}
    assert folders == {0, 1, 2} | better
    assert len(folders) < 30


def test_the_folder_of_a_sweep_shows_all_its_runs(nasrun_inprocess: Callable[[str], Any], tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer

    done = nasrun_inprocess(
        "-m tracker=tensorboard tracker.detailed=0 seed=0,1 evaluator=synthetic dataset=synthetic trials=3 "
        "output.plots=false output.console=none hydra.sweep.dir=sweep"
    )
    assert (done.returncode, done.stderr) == (0, "")
    shown = EventMultiplexer().AddRunsFromDirectory(str(tmp_path / "sweep")).Reload()
    whole = [name for name in shown.Runs() if name.endswith("/tensorboard")]
    assert sorted(whole) == [f"{n}_aging_evolution_synthetic_seed{n}/tensorboard" for n in (0, 1)]
    for name in whole:
        assert [point.step for point in shown.Tensors(name, "trial/val_accuracy")] == [0, 1, 2]

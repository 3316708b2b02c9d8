"""Runs whose children begin with the weights of their parents."""

import csv
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from nasrun.checkpoints.archive import load, read_info
from nasrun.runner.run import resume
from nasrun.storage import journal
from nasrun.training import loop
from nasrun.training.outcomes import Training
from tests.evaluators.conftest import SMALL, Bench
from tests.runner.test_recipe_runs import without_times
from tests.support import made_run

WORDS = (
    *SMALL,
    "search_space.max_depth=5",
    "dataset=synthetic",
    "strategy=aging_evolution",
    "strategy.population=2",
    "strategy.sample=2",
    "strategy.mutations=[filters,kernel,add_layer]",
    "strategy.inherit=all",
    "trials=8",
    "evaluator.final_epochs=1",
    "output.keep=all",
    "output.plots=false",
    "output.console=none",
)


def made(directory: Path, *words: str) -> Path:
    return made_run(directory, *WORDS, *words)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    return made(tmp_path_factory.mktemp("inheritance") / "run")


def test_tables_say_what_was_inherited(whole: Path) -> None:
    rows = list(csv.DictReader((whole / "trials.csv").open()))
    assert [row["inherited"] for row in rows[:2]] == ["", ""]
    behind = [1, 1]
    for row in rows[2:]:
        behind.append(1 + behind[int(row["parent"])])
        assert 0 < float(row["inherited"]) <= 1
        assert row["lineage_epochs"] == str(behind[-1])
        assert row["epochs"] == "1"
    assert max(behind) > 2
    starts = {event["proposals"][0].get("warm_start") for event in journal.read(whole / journal.NAME)
              if event["event"] == "ask"}  # fmt: skip
    assert {None, "morph"} < starts


@pytest.mark.parametrize("lines", [3, 10, 14])
def test_a_killed_and_resumed_run_is_the_one_that_was_not(whole: Path, tmp_path: Path, lines: int) -> None:
    shutil.copytree(whole, tmp_path / "run")
    path = tmp_path / "run" / journal.NAME
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:lines]))
    shutil.rmtree(tmp_path / "run" / "best")
    resume(tmp_path / "run", {})
    assert without_times(tmp_path / "run") == without_times(whole)
    for file in (whole / "checkpoints").iterdir():
        assert (tmp_path / "run" / "checkpoints" / file.name).read_bytes() == file.read_bytes()


def test_parents_are_kept_whatever_else_is(whole: Path, tmp_path: Path) -> None:
    made(tmp_path / "run", "output.keep=none")
    assert without_times(tmp_path / "run") == without_times(whole)
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_a_training_begins_with_the_function_of_the_parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench, path = Bench("search_space.max_depth=4"), tmp_path / "0-0.zip"
    space = bench.setup.space
    parent, child = map(space.parse, ("N4k1relu-R4k3relu-R8k1relu", "N8k3relu-R8k3relu-N8k1relu-R8k3relu"))
    bench.measure(bench.job(genome=parent, save_to=path))
    images = torch.randn(32, bench.setup.dataset.task.channels, 8, 8)
    given: list[torch.Tensor] = []
    train = loop.train

    def noted(model: torch.nn.Module, *arguments: Any, **named: Any) -> Training:
        with torch.no_grad():
            given.append(model.eval()(images))
        return train(model, *arguments, **named)

    monkeypatch.setattr(loop, "train", noted)
    before = torch.get_rng_state()
    job = bench.job(1, genome=child, parent=0, warm_start="morph", load_from=path, save_to=tmp_path / "1-0.zip")
    [measured] = bench.measure(job)
    assert torch.equal(torch.get_rng_state(), before)
    network, info = load(path)
    with torch.no_grad():
        assert torch.allclose(given[0], network(images), atol=1e-5)
    inherited = sum(parameter.numel() for parameter in network.parameters()) / measured.metrics["parameters"]
    assert measured.metrics["inherited"] == pytest.approx(inherited)
    assert measured.metrics["lineage_epochs"] == 2
    assert read_info(tmp_path / "1-0.zip").metrics["lineage_epochs"] == 2
    assert info.epochs == 1
    [wrong] = bench.measure(bench.job(2, genome=parent, warm_start="morph", parent=1, load_from=tmp_path / "1-0.zip"))
    assert wrong.status == "failed"
    assert "cannot compute what" in str(wrong.error)

"""Runs on images in a file: their journals are those of runs with the images in memory, for any number of workers."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nasrun.config.compose import compose_config, task_config
from nasrun.runner.run import start
from nasrun.storage import journal
from tests import picture_files

WORDS = (
    "strategy=random",
    "trials=3",
    "evaluator.epochs=2",
    "evaluator.batch_size=16",
    "evaluator.final_epochs=2",
    "output.plots=false",
    "output.console=none",
    "hardware.threads=1",
    "hardware.precision=fp32",
)
CONVOLUTIONS = ("search_space=sequential_cnn", "evaluator.shift=2", "evaluator.flip=true")


def events(directory: Path) -> list[dict[str, Any]]:
    """The results of a run: the events after the first, without times, and the record of the data."""

    def timeless(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: timeless(entry) for name, entry in value.items() if name not in ("seconds", "crc", "time")}
        return [timeless(entry) for entry in value] if isinstance(value, list) else value

    lines = [json.loads(line) for line in (directory / journal.NAME).read_text().splitlines()]
    return [lines[0]["data"], *map(timeless, lines[1:])]


def run(folder: Path, directory: Path, *words: str) -> list[dict[str, Any]]:
    config = compose_config(["dataset=image_folder", f"dataset.path={folder}", "dataset.height=12", *WORDS, *words])
    start(task_config(config), directory, unique=False)
    return events(directory)


@pytest.mark.parametrize("space", [CONVOLUTIONS, ("search_space=mlp",), ("search_space=mlp", "evaluator.shift=1")])
def test_results_are_those_of_images_in_memory(tmp_path: Path, space: tuple[str, ...]) -> None:
    folder = picture_files.fill(tmp_path / "pictures", 20)
    wanted = run(folder, tmp_path / "held", "hardware=cpu", "dataset.cache=null", *space)
    found = run(folder, tmp_path / "mapped", "hardware=cpu", f"dataset.cache={tmp_path / 'cache'}", *space)
    assert len(list((tmp_path / "cache").glob("*.images"))) == 1
    assert found == wanted


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["cpu", "ray"])
def test_workers_give_the_same(tmp_path: Path, nasrun: Callable[..., Any], kind: str) -> None:
    if kind == "ray":
        pytest.importorskip("ray")
    folder = picture_files.fill(tmp_path / "pictures", 20)
    words = f"hardware={kind} hardware.workers=2 dataset=image_folder dataset.path={folder} dataset.height=12"
    for name, cache in (("held", "null"), ("mapped", tmp_path / "cache")):
        command = f"{words} {' '.join((*WORDS, *CONVOLUTIONS))} dataset.cache={cache} hydra.run.dir={tmp_path / name}"
        done = nasrun(command)
        assert done.returncode == 0, done.stderr
    # Measurements are written in the order in which they come, which of two workers is quicker.
    mapped, held = (sorted(events(tmp_path / name), key=json.dumps) for name in ("mapped", "held"))
    assert mapped == held

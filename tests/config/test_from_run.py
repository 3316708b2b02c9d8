"""`from=DIR`: the best architecture of one run is what the next one trains."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

SEARCH = (
    "search_space=micro_cell search_space.blocks=2 search_space.layout=cr search_space.channels=3 "
    "dataset=synthetic dataset.samples=90 evaluator=synthetic trials=5 output.plots=false hydra.run.dir=search"
)
AGAIN = "experiment=train_best from=search evaluator.epochs=1 evaluator.batch_size=16 output.plots=false"


def config_of(directory: Path) -> Any:
    return yaml.safe_load((directory / ".hydra" / "config.yaml").read_text())


def test_the_best_of_a_run_is_trained(tmp_path: Path, nasrun_inprocess: Callable[[str], Any]) -> None:
    assert nasrun_inprocess(SEARCH).returncode == 0
    done = nasrun_inprocess(f"{AGAIN} hydra.run.dir=again")
    assert done.returncode == 0, done.stderr
    best = [json.loads((tmp_path / name / "best.json").read_text()) for name in ("search", "again")]
    assert best[0]["genome"] == best[1]["genome"]
    assert "test_accuracy" in best[1]["final"]
    old, new = (config_of(tmp_path / name) for name in ("search", "again"))
    assert old["search_space"] == new["search_space"]
    assert old["dataset"] == new["dataset"]
    chosen = json.loads((tmp_path / "again" / "environment.json").read_text())["choices"]
    assert (chosen["search_space"], chosen["dataset"], chosen["strategy"]) == ("micro_cell", "synthetic", "fixed")


def test_the_command_line_lies_over_it(tmp_path: Path, nasrun_inprocess: Callable[[str], Any]) -> None:
    assert nasrun_inprocess(SEARCH).returncode == 0
    done = nasrun_inprocess(
        f"{AGAIN} search_space=micro_cell search_space.channels=7 dataset=fashion_mnist_mini "
        "dataset.train_samples=64 hydra.run.dir=wide"
    )
    assert done.returncode == 0, done.stderr
    new = config_of(tmp_path / "wide")
    assert (new["search_space"]["channels"], new["search_space"]["blocks"]) == (7, 2)
    assert new["dataset"]["_target_"].endswith("FashionMnistMini")
    assert new["strategy"]["genomes"] == [json.loads((tmp_path / "search" / "best.json").read_text())["genome"]]


TRAINED = (
    "search_space=sequential_cnn search_space.max_depth=3 search_space.filters=[4,8] dataset=synthetic "
    "dataset.samples=90 dataset.height=8 dataset.width=8 strategy=random trials=3 recipe=strong evaluator.shift=1 "
    "evaluator.epochs=1 evaluator.final_epochs=1 evaluator.class_weights=balanced hardware=cpu hardware.threads=1 "
    "output.plots=false hydra.run.dir=search"
)


def test_how_a_run_trained_is_followed(tmp_path: Path, nasrun_inprocess: Callable[[str], Any]) -> None:
    assert nasrun_inprocess(TRAINED).returncode == 0
    again = "experiment=train_best from=search trial=1 evaluator.epochs=2 output.plots=false hardware.threads=1"
    done = nasrun_inprocess(f"{again} evaluator.lr=0.05 hydra.run.dir=again")
    assert done.returncode == 0, done.stderr
    old, new = (config_of(tmp_path / name)["evaluator"] for name in ("search", "again"))
    for name in ("optimizer", "schedule", "label_smoothing", "shift", "flip", "batch_size", "class_weights"):
        assert new[name] == old[name]
    assert (old["shift"], old["schedule"], old["class_weights"]) == (1, "linear", "balanced")
    assert (new["epochs"], new["final_epochs"], new["lr"]) == (2, 2, 0.05)
    genomes = (tmp_path / "search" / "genomes.txt").read_text().splitlines()
    assert config_of(tmp_path / "again")["strategy"]["genomes"] == [genomes[1].split("\t")[1]]
    final = json.loads((tmp_path / "again" / "best.json").read_text())["final"]
    assert "test_accuracy" in final
    chosen = json.loads((tmp_path / "again" / "environment.json").read_text())["choices"]
    assert chosen["recipe"] == "strong"
    own = nasrun_inprocess(f"{again} recipe=plain evaluator.final_epochs=null hydra.run.dir=own dry_run=true")
    assert own.returncode == 0, own.stderr
    refused = nasrun_inprocess("experiment=train_best from=search trial=9 hydra.run.dir=no")
    assert refused.stderr == "nasrun: trial=9: there is no such trial in search; the last one is 2\n"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("experiment=train_best", "nasrun: from: not set; give it as from=DIR"),
        ("experiment=train_best from=nowhere", "nasrun: from=nowhere: has no finished run with a best architecture"),
        ("from=nowhere", "nasrun: from: no such key; it is a key of experiment=train_best"),
    ],
)
def test_what_is_no_run_is_refused(words: str, text: str, nasrun_inprocess: Callable[[str], Any]) -> None:
    done = nasrun_inprocess(words)
    assert done.returncode == 2
    assert done.stderr.startswith(text)
    assert len(done.stderr.splitlines()) == 1


def test_given_architectures_in_turn(tmp_path: Path, nasrun_inprocess: Callable[[str], Any]) -> None:
    one, other = (f"|{name}~0|+|none~0|none~1|+|none~0|none~1|none~2|" for name in ("none", "skip_connect"))
    words = "strategy=fixed search_space=nasbench201 evaluator=synthetic dataset=synthetic output.plots=false trials=3"
    done = nasrun_inprocess(f'{words} \'strategy.genomes=["{one}","{other}"]\' hydra.run.dir=run')
    assert done.returncode == 0, done.stderr
    genomes = [line.split("\t")[1] for line in (tmp_path / "run" / "genomes.txt").read_text().splitlines()]
    assert genomes == [one, other, one]
    refused = nasrun_inprocess(f"{words} strategy.genomes=[x]")
    assert refused.returncode == 2
    assert refused.stderr.startswith("nasrun: strategy.genomes=[x]: character 1")

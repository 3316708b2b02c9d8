"""Runs that search for training settings beside the architecture: each network is trained by its own."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nasrun import run
from nasrun.checkpoints.archive import read_info
from nasrun.core import SearchSpace
from nasrun.core.options import ConfigError
from nasrun.runner.run import resume
from nasrun.spaces.recipe_genes import RecipeGenes
from nasrun.spaces.sequential_cnn.space import SequentialCNN
from nasrun.storage import journal
from tests.evaluators.conftest import SMALL, Bench
from tests.runner.test_recipe_runs import without_times
from tests.support import made_run, options, setup_of, trajectory

GENES = "search_space.recipe=[lr,weight_decay,augmentation]"
WORDS = (
    *SMALL,
    "dataset=synthetic",
    "strategy=random",
    "trials=3",
    GENES,
    "evaluator.optimizer=sgd",
    "evaluator.shift=2",
    "evaluator.final_epochs=2",
    "output.keep=all",
    "output.plots=false",
    "output.console=none",
)


def made(directory: Path, *words: str) -> Path:
    return made_run(directory, *WORDS, *words)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    return made(tmp_path_factory.mktemp("genes") / "run")


def genomes_of(directory: Path) -> dict[int, str]:
    lines = (directory / "genomes.txt").read_text().splitlines()
    return {int(number): text for number, text in (line.split("\t") for line in lines)}


def test_each_network_is_trained_by_its_own_settings(whole: Path) -> None:
    setup = setup_of(*WORDS, "evaluator=train")
    kept = {int(path.stem.split("-")[0]): path for path in (whole / "checkpoints").glob("*.zip")}
    assert len(kept) == 3
    for number, text in genomes_of(whole).items():
        factors = setup.space.setting_factors(setup.space.parse(text))
        settings = read_info(kept[number]).hparams
        assert settings["lr"] == (0.1 * factors["lr"] if factors["lr"] != 1 else None)
        assert settings["weight_decay"] == 0.0005 * factors["weight_decay"]
        assert settings["shift"] == round(2 * factors["augmentation"])
        assert settings["batch_size"] == 32
    assert len({text.partition("@")[0] for text in genomes_of(whole).values()}) > 1


def test_the_winner_is_trained_and_kept_by_its_settings(whole: Path, nasrun_inprocess: Callable) -> None:
    summary = json.loads((whole / "summary.json").read_text())
    assert summary["best"]["genome"] in genomes_of(whole).values()
    done = nasrun_inprocess(f"export {whole} --format safetensors --out {whole.parent / 'out'}")
    assert done.returncode == 0, done.stderr
    assert "same class for" in done.stdout
    info = json.loads((whole.parent / "out" / "export.json").read_text())
    assert info["genome"] == summary["best"]["genome"]


def test_settings_change_what_is_learned() -> None:
    bench = Bench(GENES, "evaluator.shift=2", "evaluator.weight_decay=0.1")
    space = bench.setup.space
    assert isinstance(space, RecipeGenes)
    network = space.network_of(bench.genome())
    losses = {}
    for factors in (("1", "1", "1"), ("4", "1", "1"), ("1", "4", "1"), ("1", "1", "0.25")):
        [measured] = bench.measure(bench.job(genome=(*factors, *network)))
        losses[factors] = measured.metrics["train_loss"]
    assert len(set(losses.values())) == 4
    plain = Bench("evaluator.shift=2", "evaluator.weight_decay=0.1")
    [measured] = plain.measure(plain.job(genome=network))
    assert measured.metrics["train_loss"] == losses["1", "1", "1"]


@pytest.mark.parametrize("lines", [1, 3, 5])
def test_a_killed_and_resumed_run_is_the_one_that_was_not(whole: Path, tmp_path: Path, lines: int) -> None:
    shutil.copytree(whole, tmp_path / "run")
    path = tmp_path / "run" / journal.NAME
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:lines]))
    (tmp_path / "run" / "best" / "model.safetensors").unlink()
    resume(tmp_path / "run", {})
    assert without_times(tmp_path / "run") == without_times(whole)
    with pytest.raises(ConfigError, match=r"^search_space\.recipe=\[lr\]: would change the search"):
        resume(whole, {"search_space.recipe": ["lr"]})


def test_workers_train_alike(whole: Path, tmp_path: Path) -> None:
    made(tmp_path / "run", "hardware.workers=2", "hardware.in_flight=1")
    assert without_times(tmp_path / "run") == without_times(whole)


def test_the_network_of_a_run_is_trained_again_by_its_settings(
    whole: Path, tmp_path: Path, nasrun_inprocess: Callable
) -> None:
    words = "output.plots=false output.console=none evaluator.final_epochs=1"
    done = nasrun_inprocess(f"experiment=train_best from={whole} trial=1 {words} hydra.run.dir={tmp_path / 'again'}")
    assert done.returncode == 0, done.stderr
    assert genomes_of(tmp_path / "again")[0] == genomes_of(whole)[1]
    done = nasrun_inprocess(
        " ".join([*WORDS, "trials=1", f"init={whole}", words, f"hydra.run.dir={tmp_path / 'begun'}"])
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("space", ["staged_cnn", "mlp"])
@pytest.mark.parametrize("strategy", options("strategy"))
def test_any_strategy_proposes_settings(strategy: str, space: str) -> None:
    words = ("evaluator=train", f"strategy={strategy}", f"search_space={space}", "search_space.recipe=[lr]")
    try:
        setup_of(*words)
    except ConfigError as error:
        pytest.skip(str(error))
    runs = []
    for _ in range(2):
        setup = setup_of(*words, "seed=3")
        runs.append(trajectory(setup.strategy, setup, 24))
        for proposal in runs[-1]:
            setup.space.validate(proposal.genome)
    assert runs[0] == runs[1]
    assert strategy == "fixed" or len({proposal.genome[0] for proposal in runs[0]}) > 1


def test_limits_steer_networks_whatever_their_settings() -> None:
    words = ("evaluator=train", "search_space=staged_cnn", "search_space.recipe=[lr]", "constraints.parameters=20000")
    setup = setup_of(*words)
    rng = np.random.default_rng(0)
    for _ in range(20):
        genome = setup.steered.sample(rng)
        assert 0.5 * 20_000 < setup.space.cost(genome, setup.dataset.task).parameters <= 20_000
        again = setup.steered.mutations["lr"](genome, rng)
        assert (again[0] != genome[0], again[1:]) == (True, genome[1:])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("evaluator=synthetic dataset=synthetic", "training settings need evaluator=train; Synthetic does not"),
        ("evaluator=supernet search_space=nasbench201", "training settings need evaluator=train; Supernet does not"),
        ("evaluator=proxies", "training settings need evaluator=train; Proxies does not use them"),
        ("evaluator=table evaluator.table=nasbench201 search_space=nasbench201", "Table does not use them"),
        ("search_space=training_recipe", "the genomes of TrainingRecipe are training settings already; use null"),
    ],
)
def test_where_it_makes_no_sense_it_is_refused(
    words: str, told: str, tmp_path: Path, nasrun_inprocess: Callable
) -> None:
    done = nasrun_inprocess(f"search_space.recipe=[lr] {words} hydra.run.dir={tmp_path / 'run'}")
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert line.startswith("nasrun: search_space.recipe=[lr]: ")
    assert told in line
    assert not (tmp_path / "run").exists()


def test_settings_that_are_0_cannot_be_multiplied(tmp_path: Path, nasrun_inprocess: Callable) -> None:
    words = " ".join([*SMALL, "dataset=synthetic", f"hydra.run.dir={tmp_path / 'run'}"])
    for gene, key in (("augmentation", "evaluator.shift"), ("label_smoothing", "evaluator.label_smoothing")):
        done = nasrun_inprocess(f"{words} search_space.recipe=[{gene}]")
        assert done.returncode == 2
        [line] = done.stderr.splitlines()
        assert f"search_space.recipe=[{gene}]: {gene} multiplies {key}" in line
    assert not (tmp_path / "run").exists()


def test_a_space_of_the_calling_program_takes_genes(tmp_path: Path) -> None:
    space: SearchSpace = SequentialCNN(
        min_depth=2, max_depth=3, kernels=[3], filters=[4], activations=["relu"], dense=8
    )
    words = [word for word in WORDS if not word.startswith("search_space") or word == GENES]
    found = run([*words, "trials=2"], search_space=space, directory=tmp_path / "run")
    assert all(trial.genome.startswith("lr") for trial in found.trials)

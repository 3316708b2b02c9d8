"""Whole runs that train one network on: tables, checkpoints and pictures, also when they are killed in the midst."""

import csv
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from nasrun.checkpoints.archive import load, read_info, read_weights
from nasrun.cli.report import report
from nasrun.config.build import build
from nasrun.config.compose import compose_config, task_config
from nasrun.core import Job, Proposal, Trial
from nasrun.runner.run import resume
from nasrun.storage import journal
from nasrun.training import loop
from nasrun.training.outcomes import Training
from tests.runner.test_crash import SCRIPTS, script
from tests.support import made_run

SMALL = (
    "search_space=training_recipe",
    "search_space.widths=[12]",
    "search_space.min_batch=8",
    "dataset=synthetic",
    "dataset.samples=300",
    "dataset.height=8",
    "dataset.width=8",
    "evaluator=train",
    "evaluator.schedule=constant",
    "evaluator.weight_decay=0",
    "evaluator.final_epochs=null",
    "hardware=cpu",
    "hardware.threads=1",
    "output.console=none",
)
MIHA = (*SMALL, "strategy=miha", "strategy.m=2", "strategy.pop_size=3", "strategy.n=2", "strategy.k=1",
        "strategy.cycles=2", "trials=10")  # fmt: skip
CROSSOVER = (*MIHA, "strategy.choose=crossover")
PBT = (*SMALL, "strategy=pbt", "strategy.population=4", "strategy.ready=1", "strategy.generations=3", "trials=12")


def run_of(words: tuple[str, ...], directory: Path, *more: str) -> Path:
    return made_run(directory, *words, *more)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def results(directory: Path) -> dict[str, bytes]:
    """All results of a run, without times."""
    kept: dict[str, bytes] = {}
    for name in ("trials.csv", "measurements.csv", "history.csv"):
        timeless = [{k: v for k, v in row.items() if k != "seconds"} for row in rows(directory / name)]
        kept[name] = json.dumps(timeless).encode()
    files = [directory / name for name in ("genomes.txt", "best.json", "changes.csv", "strategy.json")]
    files += [path for folder in ("best", "checkpoints") for path in (directory / folder).glob("*")]
    return kept | {str(path.relative_to(directory)): path.read_bytes() for path in files}


def test_a_run_of_miha(tmp_path: Path) -> None:
    directory = run_of(MIHA, tmp_path / "run", "output.keep=all")
    trials = rows(directory / "trials.csv")
    assert [row["status"] for row in trials] == ["ok"] * 10
    origins = [row["origin"] for row in trials]
    assert origins[::4][:3] == ["start", "selection", "selection"]
    assert origins[-1] == "last"
    assert [float(row["epochs"]) for row in trials] == [2, 4, 4, 4, 5, 7, 7, 7, 8, 10]
    changes = rows(directory / "changes.csv")
    assert [(row["cycle"], row["copy"]) for row in changes] == [(str(c), str(i)) for c in (1, 2) for i in range(3)]
    history = {(row["trial"], row["epoch"]): float(row["train_loss"]) for row in rows(directory / "history.csv")}
    for cycle in (changes[:3], changes[3:]):
        first_epoch = 3 if cycle[0]["cycle"] == "1" else 6
        for row in cycle:
            first, last = history[row["trial"], str(first_epoch)], history[row["trial"], str(first_epoch + 1)]
            assert (float(row["first_loss"]), float(row["last_loss"])) == (first, last)
            assert float(row["fitness"]) == (first - last) - last
        chosen = [row for row in cycle if row["chosen"] == "true"]
        assert chosen == [max(cycle, key=lambda row: float(row["fitness"]))]
        [after] = [row for row in trials if row["parent"] == chosen[0]["trial"] and row["origin"] == "selection"]
        assert after["genome"] == trials[int(chosen[0]["trial"])]["genome"]
    assert len(list((directory / "checkpoints").iterdir())) == 10
    assert (directory / "plots" / "learning_history.png").stat().st_size > 5000
    assert json.loads((directory / "best.json").read_text())["trial"] == 9, "the last network, as published"


def test_the_network_in_an_archive_is_the_one_of_the_run(tmp_path: Path) -> None:
    directory = run_of(MIHA, tmp_path / "run", "output.keep=all", "output.plots=false")
    setup = build(task_config(compose_config(MIHA)))
    data = setup.dataset.load()
    for row in rows(directory / "trials.csv"):
        model, info = load(directory / "checkpoints" / f"{row['trial']}-0.zip")
        images, labels = (torch.from_numpy(array) for array in (data.validation.images, data.validation.labels))
        with torch.inference_mode():
            right = (model(info.inputs(images)).argmax(1) == labels).double().mean().item()
        assert right == pytest.approx(float(row["val_accuracy"]), abs=1e-9)
        assert info.genome == row["genome"]
        assert info.epochs == float(row["epochs"])
    tested = json.loads((directory / "summary.json").read_text())["final"]
    images, labels = (torch.from_numpy(array) for array in (data.test.images, data.test.labels))
    with torch.inference_mode():
        right = (model(info.inputs(images)).argmax(1) == labels).double().mean().item()
    assert right == pytest.approx(tested["test_accuracy"], abs=1e-9), "the last network is the one that is tested"


def test_best_keeps_what_the_search_needs_and_the_best(tmp_path: Path) -> None:
    """A run that keeps little finds the same as one that keeps all."""
    kept = {
        keep: run_of(MIHA, tmp_path / keep, f"output.keep={keep}", "output.plots=false") for keep in ("all", "best")
    }
    assert (kept["all"] / "trials.csv").read_text().count("\n") == 11
    names = sorted(path.stem for path in (kept["best"] / "checkpoints").iterdir())
    accuracies = {row["trial"]: float(row["val_accuracy"]) for row in rows(kept["best"] / "trials.csv")}
    assert names == sorted({f"{max(accuracies, key=lambda name: accuracies[name])}-0", "9-0"})
    for name in ("genomes.txt", "changes.csv", "best/model.safetensors"):
        assert (kept["all"] / name).read_bytes() == (kept["best"] / name).read_bytes()


def test_none_leaves_no_checkpoint(tmp_path: Path) -> None:
    directory = run_of(MIHA, tmp_path / "run", "output.keep=none", "output.plots=false")
    assert [row["status"] for row in rows(directory / "trials.csv")] == ["ok"] * 10
    assert not (directory / "checkpoints").exists()
    assert json.loads((directory / "summary.json").read_text())["final"]["test_accuracy"] > 0


def test_crossover_trains_on_a_mixture(tmp_path: Path) -> None:
    directory = run_of(CROSSOVER, tmp_path / "run", "output.keep=all", "output.plots=false")
    trials = rows(directory / "trials.csv")
    assert [row["status"] for row in trials] == ["ok"] * 10
    mixed = [int(row["trial"]) for row in trials if row["origin"] == "crossover"]
    assert mixed == [4, 8]
    changes = rows(directory / "changes.csv")
    for number in mixed:
        info = read_info(directory / "checkpoints" / f"{number}-0.zip")
        parents = {
            row["trial"] for row in changes if row["chosen"] == "true" and number - 4 < int(row["trial"]) < number
        }
        assert {str(info.parent), *map(str, info.partners)} == parents
        assert len(parents) == 2
        genes = [read_info(directory / "checkpoints" / f"{parent}-0.zip").genome.split("-") for parent in parents]
        assert all(gene in pair for gene, *pair in zip(info.genome.split("-"), *genes, strict=True))


def test_a_run_of_pbt(tmp_path: Path) -> None:
    directory = run_of(PBT, tmp_path / "run", "output.plots=false")
    trials = rows(directory / "trials.csv")
    assert [row["status"] for row in trials] == ["ok"] * 12
    assert [float(row["epochs"]) for row in trials] == [1] * 4 + [2] * 4 + [3] * 4
    assert [row["origin"] for row in trials].count("exploit") == 2
    assert len(rows(directory / "changes.csv")) == 12


def test_report_makes_the_same_again(tmp_path: Path) -> None:
    directory = run_of(MIHA, tmp_path / "run")
    before = (directory / "changes.csv").read_bytes()
    for path in (directory / "changes.csv", directory / "plots" / "learning_history.png"):
        path.unlink()
    report(directory)
    assert (directory / "changes.csv").read_bytes() == before
    assert (directory / "plots" / "learning_history.png").is_file()


def stopped(words: tuple[str, ...], directory: Path, after: int, *options: str) -> None:
    """A run that dies before it writes to its journal once more than a given number of times."""
    append, written = journal.Journal.append_all, []

    def dying(self: journal.Journal, events: object, *, fsync: bool = False) -> None:
        if len(written) == after:
            raise SystemExit(9)
        written.append(events)
        append(self, events, fsync=fsync)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal.Journal, "append_all", dying)
        with pytest.raises(SystemExit):
            run_of(words, directory, *options)


@pytest.mark.parametrize("words", [CROSSOVER, PBT], ids=["miha", "pbt"])
@pytest.mark.parametrize("keep", ["best", "all"])
def test_a_run_stopped_anywhere_goes_on_to_the_same(tmp_path: Path, words: tuple[str, ...], keep: str) -> None:
    options = (f"output.keep={keep}", "output.plots=false")
    expected = results(run_of(words, tmp_path / "whole", *options))
    for after in (1, 9, 17, 22, 30):
        directory = tmp_path / f"stopped{after}"
        stopped(words, directory, after, *options)
        resume(directory, {})
        assert results(directory) == expected, after


@pytest.mark.slow
def test_a_killed_process_resumes_to_equal_checkpoints(tmp_path: Path) -> None:
    program = str(script("crash_campaign").program())
    words = [program, *CROSSOVER, "output.keep=all", "output.plots=false"]
    subprocess.run([*words, f"hydra.run.dir={tmp_path / 'whole'}"], check=True)
    expected = results(tmp_path / "whole")
    for killed_at in (3, 7):
        directory = tmp_path / f"killed{killed_at}"
        process = subprocess.Popen([*words, f"hydra.run.dir={directory}"])
        path = directory / journal.NAME
        while process.poll() is None:
            if path.is_file() and sum(event["event"] == "tell" for event in journal.read(path)) >= killed_at:
                process.send_signal(signal.SIGKILL)
                process.wait()
            time.sleep(0.001)
        assert journal.read(path)[-1]["event"] != "end", "killed too late to show anything"
        subprocess.run([program, "resume", str(directory)], check=True)
        assert results(directory) == expected


def test_continuing_keeps_the_state_of_the_optimizer(tmp_path: Path) -> None:
    """A segment that goes on with the same optimizer differs from one whose optimizer starts afresh."""
    setup = build(task_config(compose_config([*SMALL, "strategy=miha"])))
    setup.evaluator.prepare()
    first = setup.space.parse("adam-32-Tanh")

    def measured(genome: str, resumable: bool = True, **fields: object) -> dict[str, float]:
        proposal = Proposal(setup.space.parse(genome), **fields)  # type: ignore[arg-type]
        job = Job(Trial(1, proposal), 0, 5, str(tmp_path / "0.zip"), None, (), resumable)
        [found] = setup.evaluator.evaluate([job])
        assert found.status == "ok", found.error
        return dict(found.metrics)

    start_job = Job(Trial(0, Proposal(first, budget=2)), 0, 5, None, str(tmp_path / "0.zip"), (), True)
    list(setup.evaluator.evaluate([start_job]))
    on = {"budget": 3, "parent": 0, "warm_start": "continue"}
    continued, afresh = measured("adam-32-Tanh", **on), measured("adam-32-Tanh", resumable=False, **on)
    assert continued["train_loss"] != afresh["train_loss"]
    changed = measured("adadelta-32-Tanh", **on), measured("adadelta-32-Tanh", resumable=False, **on)
    assert changed[0] == changed[1], "another optimizer starts fresh"


def test_partners_are_averaged_before_the_training_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    setup = build(task_config(compose_config([*SMALL, "strategy=miha"])))
    setup.evaluator.prepare()
    genome = setup.space.parse("adam-32-Tanh")
    files = [str(tmp_path / f"{number}-0.zip") for number in range(3)]
    for number, file in enumerate(files):
        job = Job(Trial(number, Proposal(genome, budget=1)), 0, number, None, file, (), True)
        list(setup.evaluator.evaluate([job]))
    given: list[dict[str, torch.Tensor]] = []
    train = loop.train

    def noted(model: torch.nn.Module, *arguments: Any, **named: Any) -> Training:
        given.append({name: tensor.clone() for name, tensor in model.state_dict().items()})
        return train(model, *arguments, **named)

    monkeypatch.setattr(loop, "train", noted)
    proposal = Proposal(genome, {}, 2, 0, "continue", partners=(1, 2))
    [found] = setup.evaluator.evaluate([Job(Trial(3, proposal), 0, 3, files[0], None, tuple(files[1:]), True)])
    assert found.status == "ok"
    weights = [read_weights(file) for file in files]
    for name, tensor in given[0].items():
        assert torch.allclose(tensor, sum(one[name] for one in weights) / 3), name
        assert not torch.equal(tensor, weights[0][name])


def test_a_trial_that_was_reused_is_gone_on_from(tmp_path: Path) -> None:
    """Members of a population that are drawn alike share one training, and its checkpoint."""
    few = ("search_space.optimizers=[adam,sgd]", "search_space.activations=[ReLU]", "search_space.min_batch=32",
           "search_space.max_batch=32", "strategy.lr=null", "output.plots=false")  # fmt: skip
    directory = run_of(PBT, tmp_path / "run", *few)
    trials = rows(directory / "trials.csv")
    assert [row["status"] for row in trials] == ["ok"] * 12
    reused = {row["trial"] for row in trials if row["reuse_of"]}
    assert reused
    assert reused & {row["parent"] for row in trials}


@pytest.mark.slow
def test_the_smoke_experiments_and_their_table(tmp_path: Path) -> None:
    program = str(script("crash_campaign").program())
    for name in ("miha_smoke", "pbt_smoke"):
        words = [program, f"experiment={name}", "output.console=none", f"hydra.run.dir={tmp_path / name}"]
        subprocess.run(words, check=True)
        assert (tmp_path / name / "plots" / "learning_history.png").is_file()
    table = [sys.executable, SCRIPTS / "tables.py", "miha", tmp_path, "--best", "--csv", tmp_path / "table.csv"]
    printed = subprocess.run(table, check=True, capture_output=True, text=True).stdout
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in printed.splitlines()]
    assert [line[:4] for line in lines[2:]] == [
        ["miha crossover average published", "1", "20", "12"],
        ["pbt", "1", "24", "6"],
    ]
    assert {row["strategy"] for row in rows(tmp_path / "table.csv")} == {"miha crossover average published", "pbt"}

"""The command as a user meets it: help, exit codes, dry runs, sweeps, interruptions."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from nasrun import __version__
from nasrun.config.help import VERBS, suggest
from nasrun.core.config_files import conf_dir
from tests.conftest import COMMAND

FAST = "evaluator=synthetic output.plots=false"


def runs(folder: Path) -> list[Path]:
    """The run directories somewhere below a folder."""
    return sorted(path.parent for path in folder.rglob("journal.jsonl"))


def events(directory: Path) -> list[dict]:
    return [json.loads(line) for line in (directory / "journal.jsonl").read_text().splitlines()]


def test_help_lists_every_option_with_its_comment(nasrun_inprocess: Callable) -> None:
    answer = nasrun_inprocess("--help")
    assert (answer.returncode, answer.stderr) == (0, "")
    lines = [" ".join(line.split()) for line in answer.stdout.splitlines()]
    for path in conf_dir().glob("*/*.yaml"):
        comments = [line for line in path.read_text().splitlines() if line.startswith("# ") and "@package" not in line]
        assert comments, f"{path} does not begin with a comment"
        assert f"{path.stem} {comments[0].removeprefix('# ')}" in lines
        assert f"{path.parent.name}:" in lines
    for key in ("seed", "trials", "keep_count", "parameters"):
        assert any(line.startswith(f"{key} ") for line in lines)
    for verb in (*VERBS, "reproduce"):
        assert [line.startswith(f"nasrun {verb} ") for line in lines].count(True) == 1, verb


def test_help_comes_first_wherever_it_stands(nasrun_inprocess: Callable) -> None:
    assert nasrun_inprocess("strategy=agng_evolution -h").stdout == nasrun_inprocess("--help").stdout


@pytest.mark.parametrize("flag", ["--help", "--version"])
def test_help_imports_neither_torch_nor_hydra(flag: str) -> None:
    code = (
        "import sys\nfrom nasrun.cli.main import main\n"
        f"sys.argv = ['nasrun', {flag!r}]\n"
        "code = main()\n"
        "heavy = {'torch', 'hydra', 'omegaconf', 'matplotlib', 'numpy'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_version(nasrun: Callable) -> None:
    done = nasrun("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"nasrun {__version__}\n", "")


def test_suggestions_for_bare_words() -> None:
    assert suggest("random") == "did you mean strategy=random?"
    assert suggest("sed") == "did you mean seed=VALUE?"
    assert suggest("metric") == "did you mean objective.metric=VALUE?"
    assert suggest("qqqq") == "see nasrun --help"


def test_cfg_shows_the_config_and_runs_nothing(nasrun: Callable, tmp_path: Path) -> None:
    done = nasrun("--cfg job strategy=genetic trials=77")
    assert (done.returncode, done.stderr) == (0, "")
    assert "trials: 77\n" in done.stdout
    assert "nasrun.strategies.genetic.Genetic" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_dry_run_shows_the_plan_and_creates_nothing(nasrun_inprocess: Callable, tmp_path: Path) -> None:
    answer = nasrun_inprocess(f"{FAST} dry_run=true trials=33")
    assert (answer.returncode, answer.stderr) == (0, "")
    names = [line.split("  ")[0] for line in answer.stdout.splitlines()]
    for name in ("search space", "strategy", "trials", "task", "parameters", "FLOPs", "example", "time"):
        assert name in names
    assert "trials        33\n" in answer.stdout
    assert list(tmp_path.iterdir()) == []


def test_dry_run_of_a_sweep_shows_a_plan_each(nasrun_inprocess: Callable, tmp_path: Path) -> None:
    answer = nasrun_inprocess(f"-m {FAST} dry_run=true trials=3,4")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert [line.split()[1] for line in answer.stdout.splitlines() if line.startswith("trials ")] == ["3", "4"]
    assert list(tmp_path.iterdir()) == []


def test_run_that_is_done_exits_with_0(nasrun: Callable, tmp_path: Path) -> None:
    done = nasrun(f"{FAST} trials=4")
    assert (done.returncode, done.stderr) == (0, "")
    (directory,) = runs(tmp_path / "outputs")
    assert directory.name.endswith("_aging_evolution_fashion_mnist_mini")
    assert (directory / "best.json").is_file()
    assert str(directory.relative_to(tmp_path)) in done.stdout


def test_run_that_fails_exits_with_1_and_the_reason(nasrun: Callable, tmp_path: Path) -> None:
    done = nasrun(f"{FAST} trials=6 evaluator.fail_rate=1.0 max_failures=3 hydra.run.dir=here")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "nasrun: 3 trials in a row failed, the last: drawn to fail; the run's files are in here"
    ]
    assert runs(tmp_path) == [tmp_path / "here"]


def test_sweep_makes_a_directory_per_combination(nasrun: Callable, tmp_path: Path) -> None:
    done = nasrun(f"-m strategy=random,genetic seed=0,1 {FAST} trials=4")
    assert (done.returncode, done.stderr) == (0, "")
    found = runs(tmp_path / "outputs")
    assert len({directory.parent for directory in found}) == 1
    assert [directory.name for directory in found] == [
        "0_random_fashion_mnist_mini_seed0",
        "1_random_fashion_mnist_mini_seed1",
        "2_genetic_fashion_mnist_mini_seed0",
        "3_genetic_fashion_mnist_mini_seed1",
    ]


def test_sweep_of_an_experiment_needs_no_flag(nasrun: Callable, tmp_path: Path) -> None:
    experiment = tmp_path / "mine" / "experiment" / "swept.yaml"
    experiment.parent.mkdir(parents=True)
    experiment.write_text(
        "# @package _global_\ntrials: 3\nhydra:\n  mode: MULTIRUN\n  sweeper: {params: {seed: '5,6'}}\n"
    )
    done = nasrun(f"--config-dir=mine experiment=swept {FAST} hydra.sweep.dir=swept")
    assert (done.returncode, done.stderr) == (0, "")
    assert [directory.name[-5:] for directory in runs(tmp_path / "swept")] == ["seed5", "seed6"]


def test_sweep_goes_on_after_a_run_that_fails(nasrun: Callable, tmp_path: Path) -> None:
    done = nasrun(f"-m {FAST} trials=4 evaluator.fail_rate=1.0,0.0 seed=0,1 hydra.sweep.dir=swept")
    assert done.returncode == 1
    assert [line.split(";")[0] for line in done.stderr.splitlines()] == ["nasrun: no trial succeeded"] * 2
    assert [(directory / "best.json").is_file() for directory in runs(tmp_path)] == [False, False, True, True]


def test_sweep_started_a_second_time_goes_on(nasrun: Callable, tmp_path: Path) -> None:
    command = f"-m strategy=random,genetic {FAST} trials=5 resume=true hydra.sweep.dir=swept"
    assert nasrun(command).returncode == 0
    first, second = runs(tmp_path / "swept")
    before = {path: path.read_bytes() for path in (first / "journal.jsonl", first / "trials.csv")}
    whole = (second / "journal.jsonl").read_bytes().splitlines(keepends=True)
    tables = (second / "genomes.txt").read_bytes()
    told = [position for position, event in enumerate(events(second)) if event["event"] == "tell"]
    (second / "journal.jsonl").write_bytes(b"".join(whole[: told[2] + 1]))  # as if it had been killed then
    done = nasrun(command)
    assert (done.returncode, done.stderr) == (0, "")
    assert runs(tmp_path / "swept") == [first, second]
    assert {path: path.read_bytes() for path in before} == before
    assert (second / "genomes.txt").read_bytes() == tables
    measured = [event["trial"] for event in events(second) if event["event"] == "measure"]
    assert measured == [0, 1, 2, 3, 4]


def test_runs_of_the_same_second_get_directories_of_their_own(nasrun: Callable, tmp_path: Path) -> None:
    # A name by the clock that stays the same for a year stands for starts within one second.
    experiment = tmp_path / "mine" / "experiment" / "same_second.yaml"
    experiment.parent.mkdir(parents=True)
    experiment.write_text("# @package _global_\ntrials: 3\nhydra: {run: {dir: 'outputs/${now:%Y}'}}\n")
    command = f"--config-dir=mine experiment=same_second {FAST}"
    processes = [subprocess.Popen([COMMAND, *shlex.split(command)], cwd=tmp_path) for _ in range(2)]
    assert [process.wait() for process in processes] == [0, 0]
    assert nasrun(command).returncode == 0
    year = time.strftime("%Y")
    names = [year, f"{year}_2", f"{year}_3"]
    assert [directory.name for directory in runs(tmp_path)] == names
    assert sorted(path.name for path in (tmp_path / "outputs").iterdir()) == names


def interrupted(folder: Path, number: signal.Signals) -> "subprocess.CompletedProcess[str]":
    """A run of eight slow trials that gets a signal after its second one."""
    process = subprocess.Popen(
        [COMMAND, *shlex.split(FAST), "evaluator.delay=0.5", "trials=8", "hydra.run.dir=here"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    journal = folder / "here" / "journal.jsonl"
    while process.poll() is None and not (journal.is_file() and journal.read_text().count('"event":"tell"') >= 2):
        time.sleep(0.02)
    os.kill(process.pid, number)
    output, errors = process.communicate()
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


@pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2], ids=lambda one: one.name
)
def test_interrupted_run_says_how_to_go_on_and_does(number: signal.Signals, nasrun: Callable, tmp_path: Path) -> None:
    done = interrupted(tmp_path, number)
    assert done.returncode == 130
    assert done.stderr == "nasrun: interrupted; continue with: nasrun resume here\n"
    told = sum(event["event"] == "tell" for event in events(tmp_path / "here"))
    assert 2 <= told < 8
    assert len((tmp_path / "here" / "trials.csv").read_text().splitlines()) == 1 + told
    resumed = nasrun("resume here")
    assert (resumed.returncode, resumed.stderr) == (0, "")
    assert nasrun(f"{FAST} evaluator.delay=0.5 trials=8 hydra.run.dir=whole").returncode == 0
    for name in ("genomes.txt", "best.json"):
        assert (tmp_path / "here" / name).read_text() == (tmp_path / "whole" / name).read_text()


def test_resume_extends_a_finished_run(nasrun: Callable, tmp_path: Path) -> None:
    assert nasrun(f"{FAST} trials=4 hydra.run.dir=here").returncode == 0
    done = nasrun("resume here trials=6")
    assert (done.returncode, done.stderr) == (0, "")
    assert len((tmp_path / "here" / "genomes.txt").read_text().splitlines()) == 6


def test_run_in_use_by_another_process_is_refused(nasrun: Callable, tmp_path: Path) -> None:
    from nasrun.storage.lock import locked

    assert nasrun(f"{FAST} trials=4 hydra.run.dir=here").returncode == 0
    with locked(tmp_path / "here"):
        done = nasrun("resume here")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "nasrun: here: in use by another nasrun process; stop it with: nasrun stop here\n"

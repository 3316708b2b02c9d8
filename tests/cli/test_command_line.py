"""Arguments, flags and Hydra settings in every position and form."""

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.cli.quick_runs import QUICK, config_of, refused, write

EXPERIMENT = "# @package _global_\ntrials: 4\n"


# Where flags stand


@pytest.mark.parametrize("words", ["-m {} seed=1,2", "{} -m seed=1,2", "{} seed=1,2 --multirun", "{} seed=1,2 -m"])
def test_a_sweep_may_be_asked_for_anywhere(words: str, nasrun_inprocess: Callable, tmp_path: Path) -> None:
    answer = nasrun_inprocess(words.format(f"{QUICK} hydra.sweep.dir=swept"))
    assert (answer.returncode, answer.stderr) == (0, "")
    assert [config_of(run)["seed"] for run in sorted((tmp_path / "swept").glob("*_seed*"))] == [1, 2]


@pytest.mark.parametrize("flag", ["--config-dir mine", "--config-dir=mine", "-cd mine", "--config-dir 'mine'"])
def test_own_files_may_be_named_anywhere(flag: str, nasrun_inprocess: Callable, tmp_path: Path) -> None:
    write(tmp_path / "mine" / "experiment" / "own.yaml", EXPERIMENT)
    words = QUICK.removesuffix(" trials=3")
    answer = nasrun_inprocess(f"seed=5 {flag} {words} experiment=own hydra.run.dir=here")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert (config_of(tmp_path / "here")["seed"], config_of(tmp_path / "here")["trials"]) == (5, 4)


def test_a_search_path_is_as_good(nasrun_inprocess: Callable, tmp_path: Path) -> None:
    write(tmp_path / "mine" / "strategy" / "own.yaml", "_target_: nasrun.strategies.random.Random\n")
    words = f"{QUICK.replace('strategy=random ', '')} hydra.searchpath=[file://{tmp_path}/mine]"
    assert nasrun_inprocess(f"{words} strategy=own hydra.run.dir=here").returncode == 0
    assert config_of(tmp_path / "here")["strategy"] == {"_target_": "nasrun.strategies.random.Random"}
    assert nasrun_inprocess(f"{words} -m strategy=own,genetic hydra.sweep.dir=swept").returncode == 0
    assert [path.name for path in sorted((tmp_path / "swept").glob("*_seed*"))] == [
        "0_own_synthetic_seed0",
        "1_genetic_synthetic_seed0",
    ]


def test_the_config_is_shown_wherever_the_flag_stands(nasrun_inprocess: Callable, tmp_path: Path) -> None:
    answers = [nasrun_inprocess(words) for words in ("--cfg job trials=77", "trials=77 -c job", "--cfg=job trials=77")]
    assert all((answer.returncode, answer.stderr) == (0, "") for answer in answers)
    assert "trials: 77\n" in answers[0].stdout
    assert len({answer.stdout for answer in answers}) == 1
    part = nasrun_inprocess("trials=77 --package strategy --cfg job --resolve")
    assert part.stdout.splitlines()[1].startswith("_target_: nasrun.strategies.")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("verb", ["resume", "report", "compare", "export", "predict"])
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_every_verb_says_how_it_is_used(verb: str, flag: str, nasrun_inprocess: Callable) -> None:
    answer = nasrun_inprocess(f"{verb} {flag}")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert answer.stdout.startswith(f"usage: nasrun {verb} DIR")


# Values


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder."""
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_paths_are_taken_as_they_are(nasrun_inprocess: Callable, tmp_path: Path, home: Path) -> None:
    images = np.random.default_rng(0).integers(0, 255, (40, 8, 8), np.uint8)
    words = f"{QUICK.replace('dataset=synthetic', 'dataset=arrays')} dataset.validation=0.5"
    for number, name in enumerate(["ü (1).npz", "日本.npz", "it's [1] {2} #3 & = ;!.npz"]):
        np.savez(home / name, images=images, labels=np.arange(40) % 2)
        answer = nasrun_inprocess(f"{words} {shlex.quote(f'dataset.path=~/{name}')} hydra.run.dir=run{number}")
        assert (answer.returncode, answer.stderr) == (0, "")
        assert config_of(tmp_path / f"run{number}")["dataset"]["path"] == f"~/{name}"


def test_a_directory_may_be_at_home(nasrun_inprocess: Callable, tmp_path: Path, home: Path) -> None:
    assert nasrun_inprocess(f"{QUICK} hydra.run.dir='~/a run'").returncode == 0
    assert nasrun_inprocess(f"-m {QUICK} seed=1 hydra.sweep.dir=~/swept").returncode == 0
    assert (home / "a run" / "best.json").is_file()
    assert len(list((home / "swept").glob("*/best.json"))) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home"]


def test_variables_of_the_environment_are_read_as_what_they_say(
    nasrun_inprocess: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NUMBER", "3")
    monkeypatch.setenv("SHARE", "0.25")
    monkeypatch.setenv("PLOTS", "false")
    words = "'seed=${oc.env:NUMBER}' 'evaluator.fail_rate=${oc.env:SHARE}' 'output.plots=${oc.env:PLOTS}'"
    more = "'constraints.parameters=${oc.env:NUMBER}00000' 'objective.reference=[${oc.env:SHARE}]'"
    answer = nasrun_inprocess(f"{QUICK} {words} {more} hydra.run.dir=here")
    assert (answer.returncode, answer.stderr) == (0, "")
    config = config_of(tmp_path / "here")
    assert (config["seed"], config["evaluator"]["fail_rate"], config["output"]["plots"]) == (3, 0.25, False)
    assert (config["constraints"]["parameters"], config["objective"]["reference"]) == (300000, [0.25])
    assert json.loads((tmp_path / "here" / "journal.jsonl").read_text().splitlines()[0])["seed"] == 3
    more = nasrun_inprocess(f"{QUICK} {words} resume=true hydra.run.dir=here {more} trials=4")
    assert (more.returncode, more.stderr) == (0, "")


@pytest.mark.parametrize(
    ("value", "answer"),
    [
        ("x", "seed=x: expected a whole number"),
        ("-1", "seed=-1: must be at least 0"),
        ("1.5", "seed=1.5: expected a whole number"),
        ("", "seed=: expected a whole number"),
    ],
)
def test_a_variable_that_says_no_number_is_refused(
    value: str, answer: str, nasrun_inprocess: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NUMBER", value)
    assert refused(nasrun_inprocess("'seed=${oc.env:NUMBER}'")) == answer


def test_a_variable_stays_text_for_text(nasrun_inprocess: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOLDER", "2024")
    answer = nasrun_inprocess("dataset=arrays 'dataset.path=${oc.env:FOLDER}'")
    assert refused(answer).startswith("dataset.path=2024: no such file")


def test_the_words_of_a_run_can_be_read_back(nasrun_inprocess: Callable, tmp_path: Path) -> None:
    odd = ["vars={n: 3}", "vars.text='a # b: c'", "vars.path=ü (1)", "vars.none=null", "vars.list=[a, b]"]
    words = [*QUICK.split(), *odd, "hydra.run.dir=here"]
    assert nasrun_inprocess(shlex.join(words)).returncode == 0
    assert yaml.safe_load((tmp_path / "here" / ".hydra" / "overrides.yaml").read_text()) == words
    assert json.loads((tmp_path / "here" / "environment.json").read_text())["command"] == ["nasrun", *words]
    again = [*words[:-1], "hydra.run.dir=again"]
    assert nasrun_inprocess(shlex.join(again)).returncode == 0
    assert config_of(tmp_path / "here") == config_of(tmp_path / "again")


def test_values_may_refer_to_hydras_settings(nasrun_inprocess: Callable, tmp_path: Path) -> None:
    answer = nasrun_inprocess(f"{QUICK} 'vars.name=${{hydra:runtime.choices.strategy}}' hydra.run.dir=here")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert config_of(tmp_path / "here")["vars"] == {"name": "random"}


# Settings of Hydra's


def test_logs_of_own_classes_lie_beside_a_run(nasrun_inprocess: Callable, tmp_path: Path) -> None:
    for words in (f"{QUICK} hydra.run.dir=here", f"-m {QUICK} seed=1 hydra.sweep.dir=. hydra.sweep.subdir=there"):
        answer = nasrun_inprocess(f"{words} hydra/job_logging=default")
        assert (answer.returncode, answer.stderr) == (0, "")
    for name in ("here", "there"):
        assert (tmp_path / name / "nasrun.log").is_file()
        assert (tmp_path / name / "best.json").is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".sweep.lock", "here", "multirun.yaml", "there"]


def test_a_run_that_never_begins_leaves_no_log(nasrun_inprocess: Callable, tmp_path: Path) -> None:
    words = "dataset=arrays dataset.path=gone.npz hydra/job_logging=default hydra.run.dir=a/b"
    assert nasrun_inprocess(words).returncode == 2
    assert list(tmp_path.iterdir()) == []


def test_callbacks_of_hydras_are_called(nasrun: Callable, tmp_path: Path) -> None:
    write(
        tmp_path / "calls.py",
        "from hydra.experimental.callback import Callback\n\n\nclass Told(Callback):\n"
        "    def on_job_end(self, config, job_return, **kwargs):\n        print('told', job_return.return_value)\n",
    )
    done = nasrun(f"{QUICK} hydra.run.dir=here +hydra.callbacks.told._target_=calls.Told", PYTHONPATH=str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    best = json.loads((tmp_path / "here" / "best.json").read_text())
    assert done.stdout == f"told {best['metrics']['val_accuracy']}\n"

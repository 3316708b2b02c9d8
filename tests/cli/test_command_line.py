"""Words, flags and settings of Hydra's in every place and form, and run directories of every kind."""

import json
import os
import re
import shlex
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.conftest import COMMAND
from tests.faults.disks import disk

QUICK = "evaluator=synthetic dataset=synthetic strategy=random output.plots=false output.console=none trials=3"
EXPERIMENT = "# @package _global_\ntrials: 4\n"


def config_of(directory: Path) -> dict:
    return yaml.safe_load((directory / ".hydra" / "config.yaml").read_text())


def write(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def refused(answer: "subprocess.CompletedProcess[str]") -> str:
    """The one line of a command that was refused."""
    assert (answer.returncode, answer.stdout, answer.stderr.count("\n")) == (2, "", 1), answer
    return answer.stderr.removeprefix("nasrun: ").removesuffix("\n")


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


@pytest.mark.parametrize("form", ["hydra.run.dir=here", "++hydra.run.dir=here", "--config-dir=mine experiment=place"])
def test_a_chosen_directory_is_not_replaced_by_another(form: str, nasrun_inprocess: Callable, tmp_path: Path) -> None:
    write(tmp_path / "mine" / "experiment" / "place.yaml", "# @package _global_\nhydra: {run: {dir: here}}\n")
    write(tmp_path / "here" / "notes.txt", "mine")
    before = sorted(tmp_path.rglob("*"))
    answer = refused(nasrun_inprocess(f"{QUICK} {form}"))
    assert answer == "here is not an empty folder; choose another: hydra.run.dir=PATH"
    assert sorted(tmp_path.rglob("*")) == before


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


# Run directories


def test_a_link_to_an_empty_folder_is_filled(nasrun_inprocess: Callable, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "here").symlink_to("real")
    answer = nasrun_inprocess(f"{QUICK} hydra.run.dir=here")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert (tmp_path / "here").is_symlink()
    assert (tmp_path / "real" / "best.json").is_file()
    assert nasrun_inprocess("resume here trials=5").returncode == 0


@pytest.mark.parametrize("words", ["hydra.run.dir=here", "hydra.run.dir=here/run", "-m hydra.sweep.dir=here/sweep"])
def test_a_link_to_nothing_is_refused(words: str, nasrun_inprocess: Callable, tmp_path: Path) -> None:
    (tmp_path / "here").symlink_to("gone")
    answer = refused(nasrun_inprocess(f"{QUICK} {words}"))
    assert "here: is a link to gone, which does not exist; make that, or choose another: hydra." in answer
    assert [path.name for path in tmp_path.iterdir()] == ["here"]


def test_logs_that_are_there_already_are_no_obstacle(nasrun_inprocess: Callable, tmp_path: Path) -> None:
    write(tmp_path / "here" / "slurm-17.out", "begins\n")
    assert nasrun_inprocess(f"{QUICK} hydra.run.dir=here").returncode == 0
    assert (tmp_path / "here" / "slurm-17.out").read_text() == "begins\n"
    assert (tmp_path / "here" / "best.json").is_file()
    assert nasrun_inprocess("resume here trials=5").returncode == 0
    assert not list((tmp_path / "here").glob(".*.tmp"))


def test_a_mount_point_is_filled(nasrun_inprocess: Callable, tmp_path: Path) -> None:
    with disk(tmp_path / "here", kilobytes=8192):
        answer = nasrun_inprocess(f"{QUICK} hydra.run.dir=here")
        assert (answer.returncode, answer.stderr) == (0, "")
        assert (tmp_path / "here" / "best.json").is_file()
        assert not list((tmp_path / "here").glob(".*.tmp"))


def test_a_working_directory_that_was_deleted(tmp_path: Path) -> None:
    command = f"mkdir gone; cd gone; rmdir ../gone; {COMMAND} {QUICK}; echo $?; {COMMAND} resume x; {COMMAND} --version"
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True)
    line = "nasrun: the working directory was deleted; go to another one (cd) and type it again\n"
    assert done.stderr.endswith(line * 2)
    assert "Traceback" not in done.stderr
    assert done.stdout.startswith("2\nnasrun ")


@pytest.mark.parametrize("name", ["a=b", "seed=1,strategy=random", "my run", "it's; rm -rf $HOME", "ü&é", "-run"])
def test_what_is_said_can_be_pasted(name: str, nasrun_inprocess: Callable, tmp_path: Path) -> None:
    place = shlex.quote(f"hydra.run.dir='./{name}'" if "'" not in name else f'hydra.run.dir="./{name}"')
    assert nasrun_inprocess(f"{QUICK} {place}").returncode == 0
    assert (tmp_path / name / "best.json").is_file()
    said = refused(nasrun_inprocess(f"{QUICK} {place}"))
    pasted = said.partition("go on with it: nasrun ")[2]
    assert nasrun_inprocess(f"{pasted} trials=5").returncode == 0
    assert len((tmp_path / name / "genomes.txt").read_text().splitlines()) == 5
    assert nasrun_inprocess(pasted.replace("resume", "report")).returncode == 0


def test_a_directory_may_stand_behind_its_words(nasrun_inprocess: Callable, tmp_path: Path) -> None:
    assert nasrun_inprocess(f"{QUICK} hydra.run.dir=here").returncode == 0
    assert nasrun_inprocess("resume trials=5 here").returncode == 0
    assert len((tmp_path / "here" / "genomes.txt").read_text().splitlines()) == 5


# What is around a command


def test_nohup_keeps_a_run_going(tmp_path: Path) -> None:
    words = [*QUICK.split()[:-1], "trials=8", "evaluator.delay=0.3", "hydra.run.dir=here"]
    process = subprocess.Popen(
        ["nohup", COMMAND, *words], cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    journal = tmp_path / "here" / "journal.jsonl"
    while process.poll() is None and not (journal.is_file() and '"event":"tell"' in journal.read_text()):
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGHUP)
    assert process.wait() == 0
    assert (tmp_path / "here" / "best.json").is_file()


@pytest.mark.parametrize(
    ("words", "file"),
    [
        ("export here --format safetensors", "here/export/MODEL_CARD.md"),
        ("compare here", "here/compare/compare.html"),
        ("report here", "here/report.html"),
        ("resume here trials=3", "here/summary.json"),
        ("predict here here/trials.csv", "here/trials.csv"),
        ("--help", "here/trials.csv"),
        ("--cfg job", "here/trials.csv"),
        (f"{QUICK.replace('console=none', 'console=plain')} hydra.run.dir=there", "there/best.json"),
        (f"{QUICK.replace('console=none', 'console=plain')} -m seed=1,2 hydra.sweep.dir=.", "multirun.yaml"),
    ],
)
def test_a_reader_that_goes_away_costs_no_files(words: str, file: str, trained: Path, tmp_path: Path) -> None:
    subprocess.run(["cp", "-r", trained, tmp_path / "here"], check=True)
    command = f"{COMMAND} {words} | sleep 0; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True)
    assert "roken" not in done.stderr
    assert "cannot be written to" not in done.stderr
    assert "Traceback" not in done.stderr
    code = {"predict": 2}.get(words.split()[0], 0)  # a table is no picture
    assert done.stdout == f"{code}\n"
    assert (tmp_path / file).is_file()


def test_closed_streams_cost_nothing(open_folder: Path) -> None:
    for number, closed in enumerate((">&-", "2>&-", "<&- >&- 2>&-")):
        command = f"{COMMAND} {QUICK} hydra.run.dir=run{number} {closed}"
        assert subprocess.run(["bash", "-c", command], cwd=open_folder, capture_output=True).stderr == b""
        assert len((open_folder / f"run{number}" / "trials.csv").read_text().splitlines()) == 4
    wrong = subprocess.run(["bash", "-c", f"{COMMAND} seed=x 2>&-"], cwd=open_folder, capture_output=True)
    assert (wrong.returncode, wrong.stdout) == (2, b"")


def test_a_log_whose_reader_goes_away_costs_no_traceback(open_folder: Path) -> None:
    done = subprocess.run(
        ["bash", "-c", f"{COMMAND} --info | head -2"], cwd=open_folder, capture_output=True, text=True
    )
    assert (done.stdout.count("\n"), done.stderr) == (2, "")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("words", ["report {}", "resume {}", "dataset=arrays dataset.path={}", "hydra.run.dir={}"])
def test_a_place_that_must_not_be_looked_into(words: str, open_folder: Path) -> None:
    (open_folder / "closed").mkdir(mode=0o700)
    command = ["setpriv", "--reuid=54321", "--clear-groups", COMMAND, *words.format("closed/in/it").split()]
    done = subprocess.run(command, cwd=open_folder, capture_output=True, text=True)
    assert re.match(r"(.*/)?closed/in(/it)?: access is denied; ", refused(done))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a network."""
    folder = tmp_path_factory.mktemp("trained")
    words = "search_space=mlp strategy=random trials=1 evaluator.epochs=1 dataset.train_samples=200 output.plots=false"
    subprocess.run([COMMAND, *words.split(), "hydra.run.dir=run"], cwd=folder, check=True, capture_output=True)
    return folder / "run"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become a user that there is not")
def test_a_user_without_a_home(open_folder: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name in ("PATH", "OMP_NUM_THREADS")}

    def run(words: str) -> "subprocess.CompletedProcess[str]":
        # The rights of root stay, as Python may lie where other users may not look.
        command = ["setpriv", "--reuid", "54321", "--clear-groups", COMMAND, *words.split()]
        return subprocess.run(command, cwd=open_folder, env=environment, capture_output=True, text=True)

    done = run(f"{QUICK} hydra.run.dir=here")
    assert (done.returncode, done.stderr) == (0, "")
    assert (open_folder / "here" / "best.json").stat().st_uid == 54321
    for words in ("hydra.run.dir=~/x", "-m hydra.sweep.dir=~/x", "dataset=arrays dataset.path=~/x.npz", "+from=~/x"):
        assert "~/x" in (answer := refused(run(f"{QUICK} {words}")))
        assert "no home folder is known for this user; set HOME, or write out the ~" in answer
    answer = refused(run("search_space=mlp dataset=cifar10 dataset.mirrors=[] trials=1"))
    assert answer.startswith("no home folder is known for this user, where fetched data would be kept; set HOME or")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder for every user, unlike those of pytest."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        yield Path(folder)

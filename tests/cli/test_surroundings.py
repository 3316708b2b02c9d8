"""What is around a command: readers that go away, closed streams, signals of a terminal, other users."""

import os
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.quick_runs import QUICK, refused
from tests.conftest import COMMAND


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
        assert "no home folder is known for this user; set HOME, or write the full path instead of ~" in answer
    answer = refused(run("search_space=mlp dataset=cifar10 dataset.mirrors=[] trials=1"))
    assert answer.startswith("no home folder is known for this user, to store fetched data; set HOME or")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder for every user, unlike those of pytest."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        yield Path(folder)

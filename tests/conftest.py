"""The installed command as a fixture, as its own process and inside of the tests' process."""

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, settings

from nasrun.cli import main as cli
from nasrun.runner import interrupts

COMMAND = Path(sys.executable).with_name("nasrun")

# A shell that starts the tests in the background switches Ctrl-C off for them, and nohup the signal of a terminal that
# was closed; the programs that the tests start would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

# Whether a test passes must not depend on how busy the machine is.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

# One core for each process of pytest-xdist and all that it starts: threads of several processes on the same cores would
# wait for one another. Where there are more processes than cores, some share one.
_place = os.environ.get("PYTEST_XDIST_WORKER", "").removeprefix("gw")
if _place and hasattr(os, "sched_setaffinity"):
    _cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {_cores[int(_place) % len(_cores)]})


class Answer(NamedTuple):
    """The result of a call in this process: the exit code, and its output."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture(autouse=True)
def _threads_as_before() -> Iterator[None]:
    """Restores torch's settings after each test; tests without torch do not import it."""
    torch = sys.modules.get("torch")
    before = torch.get_num_threads() if torch is not None else None
    yield
    if torch is not None:
        torch.set_num_threads(before)


@pytest.fixture
def nasrun(tmp_path: Path) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """Runs the installed command on the words of one string, in `tmp_path`."""

    def call(command: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [COMMAND, *shlex.split(command)],
            cwd=tmp_path,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    return call


@pytest.fixture
def nasrun_inprocess(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[[str], Answer]]:
    """The same without starting a process, for commands that are refused or done at once."""
    handlers = {number: signal.getsignal(number) for number in interrupts.ENDING}
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")  # main() sets it; so it is taken back after the test

    def call(command: str) -> Answer:
        monkeypatch.setattr(sys, "argv", ["nasrun", *shlex.split(command)])
        capsys.readouterr()
        code = cli.main()
        return Answer(code, *capsys.readouterr())

    yield call
    for number, handler in handlers.items():
        signal.signal(number, handler)

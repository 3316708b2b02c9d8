"""Real runs, really killed: a short version of scripts/crash_campaign.py."""

import importlib.util
import signal
import subprocess
import time
from pathlib import Path
from types import ModuleType

import pytest

from nasrun.storage import journal

SCRIPTS = Path(__file__).parents[2] / "scripts"


def script(name: str) -> ModuleType:
    """A script of the project as a module."""
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_runs_killed_at_random_moments_resume_to_equal_results(tmp_path: Path) -> None:
    campaign = script("crash_campaign")
    names = ("dqn", "reinforce", "table")
    assert campaign.campaign(3, time.time_ns(), tmp_path, ("runner",), names) == 3


@pytest.mark.slow
def test_runs_whose_workers_are_killed_at_random_moments_have_equal_results(tmp_path: Path) -> None:
    campaign = script("crash_campaign")
    assert campaign.campaign(2, time.time_ns(), tmp_path, ("worker",), ("genetic", "miha")) == 2


@pytest.mark.slow
def test_a_run_killed_in_its_final_training_repeats_only_that(tmp_path: Path) -> None:
    campaign = script("crash_campaign")
    words = campaign.command("random", tmp_path / "whole")
    subprocess.run(words, check=True)
    expected = campaign.results(tmp_path / "whole")
    directory = tmp_path / "killed"
    process = subprocess.Popen([*campaign.command("random", directory), "evaluator.final_epochs=1"])
    path = directory / journal.NAME
    while process.poll() is None:
        if path.is_file() and sum(event["event"] == "tell" for event in journal.read(path)) == 10:
            process.send_signal(signal.SIGKILL)
            process.wait()
        time.sleep(0.001)
    before = journal.read(path)
    assert before[-1]["event"] == "tell", "killed too late to show anything"
    subprocess.run([str(campaign.program()), "resume", str(directory)], check=True)
    assert campaign.results(directory) == expected
    after = journal.read(path)[len(before) :]
    assert [event["event"] for event in after] == ["resume", "final", "end"]


def test_two_processes_cannot_resume_one_run(tmp_path: Path) -> None:
    program = str(script("crash_campaign").program())
    arguments = ["evaluator=synthetic", "dataset=synthetic", "evaluator.delay=0.2", "trials=200", "output.plots=false"]
    process = subprocess.Popen([program, *arguments, f"hydra.run.dir={tmp_path / 'run'}"], stdout=subprocess.DEVNULL)
    try:
        while not (tmp_path / "run" / ".lock").exists():
            assert process.poll() is None
            time.sleep(0.02)
        second = subprocess.run([program, "resume", str(tmp_path / "run")], capture_output=True, text=True)
    finally:
        process.kill()
        process.wait()
    assert second.returncode == 2
    assert "in use by another nasrun process" in second.stderr
    assert len(second.stderr.splitlines()) == 1

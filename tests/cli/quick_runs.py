"""A run of milliseconds, and helpers for tests of the command."""

import subprocess
from pathlib import Path

import yaml

QUICK = "evaluator=synthetic dataset=synthetic strategy=random output.plots=false output.console=none trials=3"


def config_of(directory: Path) -> dict:
    return yaml.safe_load((directory / ".hydra" / "config.yaml").read_text())


def write(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def refused(answer: "subprocess.CompletedProcess[str]") -> str:
    """The one-line message of a refused command."""
    assert (answer.returncode, answer.stdout, answer.stderr.count("\n")) == (2, "", 1), answer
    return answer.stderr.removeprefix("nasrun: ").removesuffix("\n")

"""What a run ran on: versions, machine, commit. Read without importing torch."""

import os
import platform
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from nasrun import __version__

PACKAGES = ("torch", "numpy", "hydra-core", "omegaconf", "safetensors")


def describe_environment(command: Sequence[str] = ()) -> dict[str, Any]:
    """Versions, processor and commit, for `environment.json`. No host or user name is recorded.

    `command`: the words that start this run; those of this process where it is not given.
    """
    return {
        "nasrun": __version__,
        "commit": _commit(Path(__file__).parent.parent.parent),
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in PACKAGES},
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "processors": os.cpu_count(),
        "command": ["nasrun", *(command or sys.argv[1:])],
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def _commit(checkout: Path) -> str | None:
    """The commit of the checkout that nasrun runs from; None for an installed package."""
    git = checkout / ".git"
    try:
        head = (git / "HEAD").read_text().strip()
        if not head.startswith("ref: "):
            return head
        reference = head.removeprefix("ref: ")
        if (git / reference).is_file():
            return (git / reference).read_text().strip()
        packed = (git / "packed-refs").read_text().splitlines()
        return next((line.split()[0] for line in packed if line.endswith(" " + reference)), None)
    except OSError:
        return None

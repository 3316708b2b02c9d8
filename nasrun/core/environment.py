"""The environment of a run: versions, machine, commit. Determined without importing torch."""

import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from nasrun import __version__

PACKAGES = ("torch", "numpy", "hydra-core", "omegaconf", "safetensors")
CPUINFO = Path("/proc/cpuinfo")
INSTRUCTIONS = ("avx", "avx2", "avx512f", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_bf16", "asimd", "bf16", "sve")
"""CPU flags by which numeric libraries choose their code, and with it the order of sums."""
VARIABLES = ("ATEN_CPU_CAPABILITY", "MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS", "ONEDNN_MAX_CPU_ISA", "OPENBLAS_CORETYPE")
"""Environment variables with which a user can override that choice."""


def describe_environment(command: Sequence[str] = ()) -> dict[str, Any]:
    """Versions, processor and commit, for `environment.json`. No host or user name is recorded.

    `command`: the words that start this run; by default those of this process.
    """
    return {
        "nasrun": __version__,
        "commit": commit_of(Path(__file__).parent.parent.parent),
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in PACKAGES},
        "system": f"{platform.system()} {platform.machine()}",
        **describe_processor(),
        "processors": os.cpu_count(),
        "command": ["nasrun", *(command or sys.argv[1:])],
    }


def describe_processor() -> dict[str, str]:
    """What determines the code that numeric libraries run: `processor`, its name; `instructions`, its members of
    `INSTRUCTIONS` if the system reports them (Linux); `variables`, the members of `VARIABLES` that are set."""
    try:
        lines = CPUINFO.read_text().splitlines()
    except OSError:
        lines = [f"model name: {platform.processor()}"]
    fields: dict[str, str] = {}
    for line in lines:  # the first processor comes first, and setdefault keeps its values
        name, _, value = line.partition(":")
        fields.setdefault(name.strip(), value.strip())
    flags = f"{fields.get('flags', '')} {fields.get('Features', '')}".split()
    return {
        "processor": fields.get("model name", "unknown"),
        "instructions": " ".join(name for name in INSTRUCTIONS if name in flags),
        "variables": " ".join(f"{name}={os.environ[name]}" for name in VARIABLES if name in os.environ),
    }


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Differences between two environments that may change the last digits of results: name, old and new value.

    Entries that an environment of an older nasrun lacks are ignored.
    """

    def named(place: Mapping[str, Any]) -> dict[str, str]:
        found = {name: place[name] for name in ("nasrun", "processor", "instructions", "variables") if name in place}
        return {name: value or "none" for name, value in {**found, **place.get("packages", {})}.items()}

    old, new = named(then), named(now)
    return {name: (value, new[name]) for name, value in old.items() if new.get(name, value) != value}


def commit_of(checkout: Path) -> str | None:
    """The commit of the checkout that nasrun runs from, or that pip installed from `git+URL`; None if unknown."""
    git = checkout / ".git"
    try:
        if git.is_file():  # linked work tree: this file names its folder, whose commondir names the main one
            git = checkout / git.read_text().removeprefix("gitdir:").strip()
        elif not git.is_dir():
            return _installed_commit()
        head = (git / "HEAD").read_text().strip()
        if not head.startswith("ref: "):
            return head
        reference, common = head.removeprefix("ref: "), git / "commondir"
        shared = git / common.read_text().strip() if common.is_file() else git
        for folder in (git, shared):
            if (folder / reference).is_file():
                return (folder / reference).read_text().strip()
        packed = (shared / "packed-refs").read_text().splitlines()
        return next((line.split()[0] for line in packed if line.endswith(" " + reference)), None)
    except OSError:
        return None


def _installed_commit() -> str | None:
    """The commit that pip recorded (PEP 610); None if nasrun was not installed from a repository."""
    try:
        text = metadata.distribution("nasrun").read_text("direct_url.json")
        commit = json.loads(text or "{}").get("vcs_info", {}).get("commit_id")
    except (metadata.PackageNotFoundError, ValueError, AttributeError):
        return None
    return commit if isinstance(commit, str) else None

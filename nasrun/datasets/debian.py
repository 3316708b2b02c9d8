"""Fetches files of a Debian package without installing it, so that no privileges are needed and the system is
unchanged.

This works on machines that can reach only a package mirror, not the public homes of the data sets.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from nasrun.datasets.files import File, admit

COMMAND_SECONDS = 600.0
"""Time limit of an apt-get command in seconds: the package has 31 MB."""


def fetch(package: str, folder: str, wanted: Sequence[File], cached: Path) -> list[str]:
    """Copy files that a package installs as `<folder>/<name>.gz` to the folder `cached`. Returns the errors.

    Also empty without `apt-get`, which is then not a source. The system's package lists are tried first; if they lack
    the package (an image without lists), lists are fetched to a temporary folder. OSError if the cache cannot be
    written.
    """
    if shutil.which("apt-get") is None:
        return []
    print(f"fetching the Debian package {package}", file=sys.stderr)
    for leftover in cached.glob("part-apt-*"):  # left by a killed run; the caller holds the lock
        shutil.rmtree(leftover, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=cached, prefix="part-apt-") as name:
        work = Path(name)
        failed = _download(package, work)
        debs = sorted(work.glob("*.deb"))
        if failed or not debs:
            return [f"Debian package {package}: {failed or 'apt-get brought no file'}"]
        if failed := _run(["dpkg-deb", "-x", str(debs[0]), "tree"], work):
            return [f"Debian package {package}: {failed}"]
        reasons = []
        for file in wanted:
            path = work / "tree" / folder.lstrip("/") / f"{file.name}.gz"
            wrong = admit(path, file, cached) if path.is_file() else "not in the package"
            if wrong:
                reasons.append(f"Debian package {package}: {path.name}: {wrong}")
        return reasons


def _download(package: str, work: Path) -> str | None:
    """`apt-get download` to `work`, including its own files; the error, or None."""
    for folder in ("cache/archives/partial", "lists/partial"):
        (work / folder).mkdir(parents=True)
    options = [f"Dir::Cache={work / 'cache'}", "Acquire::Retries=1"]
    options += ["Acquire::http::Timeout=10", "Acquire::https::Timeout=10"]
    if os.geteuid() == 0:
        # The user _apt, to which apt would switch, must not write here; the folder belongs to root.
        options.append("APT::Sandbox::User=root")
    if _apt(options, ["download", package], work) is None:
        return None
    options.append(f"Dir::State::Lists={work / 'lists'}")
    # `update` fails if one of several repositories fails, although another may have the package.
    stale = _apt(options, ["update"], work)
    failed = _apt(options, ["download", package], work)
    return f"{failed} ({stale})" if failed and stale else failed


def _apt(options: Sequence[str], command: Sequence[str], work: Path) -> str | None:
    return _run(["apt-get", "-q", *(part for option in options for part in ("-o", option)), *command], work)


def _run(command: Sequence[str], work: Path) -> str | None:
    """Run a command in `work`; None on success, else its last error message in one line."""
    try:
        done = subprocess.run(
            command,
            cwd=work,
            env={**os.environ, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=COMMAND_SECONDS,
        )
    except FileNotFoundError:
        return f"{command[0]} is not installed"
    except subprocess.TimeoutExpired:
        return f"{command[0]} took longer than {COMMAND_SECONDS:g} s"
    if done.returncode == 0:
        return None
    lines = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()
    errors = [line for line in lines if line.startswith("E:")]
    return f"{command[0]}: {(errors or lines)[-1].strip()}"

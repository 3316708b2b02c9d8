"""Runs as one zip file to share: everything needed to repeat and compare them, without data, paths or user names.

`nasrun rerun` repeats a run from it. Weights, plots and files with images are not packed; in the other files paths are
reduced to their last component.
"""

import json
import os
import re
import shlex
import shutil
import stat
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from nasrun.core.options import ConfigError, shell_command, show, typed
from nasrun.core.words import counted
from nasrun.storage import journal
from nasrun.storage.events import RunStarted
from nasrun.storage.paths import given_paths
from nasrun.storage.records import CONFIG, assemble
from nasrun.storage.run_directory import is_free

TABLES = (
    "trials.csv",
    "measurements.csv",
    "history.csv",
    "genomes.txt",
    "front.csv",
    "changes.csv",
    "shared.csv",
    "architecture.csv",
)
"""Result files of a run that are packed if they exist."""
FILES = (
    CONFIG.as_posix(),
    CONFIG.with_name("overrides.yaml").as_posix(),
    "environment.json",
    journal.NAME,
    "summary.json",
    "best.json",
    *TABLES,
    "strategy.json",
)
"""Files of a run directory that are packed if they exist, in addition to its code."""
CODE = "code"
README, COMMANDS = "README.txt", "commands.sh"
MOST_BYTES = 4 * 2**30
"""Maximum total bytes of an unpacked pack."""
_HOME = re.compile(r"(?<![\w.])(?:/home|/Users|[A-Z]:\\Users)[/\\][^/\\\s\"']+|(?<![\w./])/root(?![\w.-])")
_STAMP = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Pack:
    """A written pack: its number of runs, and remarks for its author."""

    path: Path
    runs: int
    remarks: Sequence[str]


def pack(runs: Sequence[Path], folder: Path, path: Path) -> Pack:
    """Write run directories to a zip file, by their paths below a folder. The same runs give the same bytes.

    ConfigError if the file already exists, or cannot be written.
    """
    if path.exists():
        raise ConfigError(f"{path}: already exists; choose another name: --out FILE.zip")
    temporary, remarks, commands = path.with_name(f".{path.name}.{os.getpid()}.tmp"), [], []
    try:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
            for run in runs:
                place = PurePosixPath(path.stem, *run.relative_to(folder).parts)
                contents, names = _contents(run)
                told = "contains a path of this machine; it is packed unchanged, because the run records its SHA-256"
                remarks += [f"{run / name}: {told}" for name in names]
                for name, content in contents.items():
                    archive.writestr(zipfile.ZipInfo(str(place / name), _STAMP), content, zipfile.ZIP_DEFLATED)
                command = json.loads(contents["environment.json"]).get("command") or ["nasrun"]
                then = "".join(f"; then: {words}" for words in _resumes(contents[journal.NAME]))
                commands.append(f"{shlex.join(map(str, command))}  # {place}{then}\n")
            versions = json.loads(contents["environment.json"])
            for name, text in ((COMMANDS, "".join(commands)), (README, _readme(path.stem, len(runs), versions))):
                archive.writestr(zipfile.ZipInfo(f"{path.stem}/{name}", _STAMP), text, zipfile.ZIP_DEFLATED)
        temporary.replace(path)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written ({error.strerror})") from error
    finally:
        temporary.unlink(missing_ok=True)
    return Pack(path, len(runs), remarks)


def _resumes(content: bytes) -> list[str]:
    """The commands that later changed the config of a run, from its journal."""
    events = (json.loads(line) for line in content.splitlines() if line.startswith(b'{"event":"resume"'))
    changed = [event["changes"] for event in events if event.get("changes")]
    return [shell_command("resume", "DIR", *(f"{key}={typed(new)}" for key, new in one.items())) for one in changed]


def _readme(name: str, count: int, environment: Mapping[str, Any]) -> str:
    packages = ", ".join(f"{package} {version}" for package, version in (environment.get("packages") or {}).items())
    commit = f"commit {environment['commit']}" if environment.get("commit") else "no commit on record"
    return (
        f"{counted(count, 'run')} of nasrun {environment.get('nasrun')} ({commit}), made with Python "
        f"{environment.get('python')}, {packages}, on {environment.get('processor')}.\n\n"
        f"To repeat and compare them:\n\n    nasrun unpack {shlex.quote(name + '.zip')}\n"
        f"    nasrun rerun {shlex.quote(name)}\n\n"
        f"Data are not included; if they are not found automatically: nasrun rerun DIR dataset.path=PATH\n"
        f"{COMMANDS} has the command of each run. The code/ of a run has its author's own classes, if there are\n"
        f"any; they are executed only if you allow it (NASRUN_ALLOW=MODULE).\n"
    )


def _contents(run: Path) -> tuple[dict[str, bytes], list[str]]:
    """The files of a run by name, without paths and user names; and the names of code files that contain some."""
    lines = journal.read(run / journal.NAME)
    clean = _Cleaner(run, assemble(run, lines).header)
    contents: dict[str, bytes] = {}
    for name in FILES:
        if (run / name).is_file():
            content = (run / name).read_bytes()
            contents[name] = clean.journal(lines) if name == journal.NAME else clean.file(name, content.decode())
    named = []
    for path in sorted((run / CODE).rglob("*.py")) if (run / CODE).is_dir() else ():
        name, content = path.relative_to(run).as_posix(), path.read_bytes()
        contents[name] = content
        text = content.decode("utf-8", "replace")
        named += [name] if clean.text(text) != text else []
    return contents, named


class _Cleaner:
    """Reduces paths to their last component, and home directories to `~`."""

    def __init__(self, run: Path, header: RunStarted) -> None:
        places: dict[str, str] = {str(run.absolute()): run.name, str(run.resolve()): run.name}
        for folder in (Path.cwd(), Path((header.paths or {}).get("folder") or Path.cwd())):
            places |= {str(folder): "."} if len(folder.parts) > 1 else {}
        for value in given_paths(header).values():
            if value is not None and (value.startswith("~") or Path(value).is_absolute()):
                places[value] = Path(value).name
        if len(Path.home().parts) > 1:
            places[str(Path.home())] = "~"
        self._places = sorted(places.items(), key=lambda place: -len(place[0]))

    def text(self, text: str) -> str:
        """A text without paths of this machine."""
        for place, name in self._places:
            text = re.sub(rf"{re.escape(place)}(?![\w.-])", name.replace("\\", r"\\"), text)
        return _HOME.sub("~", text)

    def journal(self, lines: Sequence[journal.Line]) -> bytes:
        """The journal without paths, with new checksums."""
        return b"".join(journal.line_of(self._without_place(self._value(line))) for line in lines)

    def file(self, name: str, text: str) -> bytes:
        """A file of a run without paths, in its own format."""
        if name.endswith(".json"):
            return (json.dumps(self._without_place(self._value(json.loads(text))), indent=2) + "\n").encode()
        if name.endswith(".yaml"):
            value = self._value(yaml.safe_load(text))
            return yaml.safe_dump(value, allow_unicode=True, sort_keys=False).encode() if text else b""
        return self.text(text).encode()

    def _without_place(self, content: dict[str, Any]) -> dict[str, Any]:
        if isinstance(content.get("paths"), dict):
            content = {**content, "paths": {"given": content["paths"].get("given", {})}}
        return content

    def _value(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {self._value(key): self._value(entry) for key, entry in value.items()}
        if isinstance(value, list):
            return [self._value(entry) for entry in value]
        return self.text(value) if isinstance(value, str) else value


def unpack(path: Path, folder: Path) -> Path:
    """Unpack the runs of a pack into a new folder, atomically, and return the folder.

    Packs are not trusted: a pack may contain only files of runs, no links, and no paths outside the folder.
    ConfigError, in one line, for any other file.
    """
    if not is_free(folder):
        raise ConfigError(f"{folder}: already exists; choose another: nasrun unpack {path} FOLDER")
    temporary = folder.absolute().with_name(f".{folder.name}.{os.getpid()}.tmp")
    try:
        with zipfile.ZipFile(path) as archive:
            members = _members(archive)
            for member, place in members:
                target = temporary / place
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(member) as source, target.open("wb") as file:
                    shutil.copyfileobj(source, file)
        if folder.is_dir():
            folder.rmdir()
        temporary.rename(folder)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise ConfigError(f"{path}: is not a pack of runs ({error})") from error
    except OSError as error:
        raise ConfigError(f"{error.filename or path}: {error.strerror}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _members(archive: zipfile.ZipFile) -> list[tuple[zipfile.ZipInfo, PurePosixPath]]:
    """The files of a pack with their paths; ValueError for files that are not allowed."""
    found, places = [], set()
    if sum(member.file_size for member in archive.infolist()) > MOST_BYTES:
        raise ValueError(f"more than {MOST_BYTES:,} bytes")
    for member in archive.infolist():
        parts = PurePosixPath(member.filename).parts
        linked = stat.S_ISLNK(member.external_attr >> 16)
        inside = PurePosixPath(*parts[1:])
        plain = not any(part in ("..", "/") or "\\" in part or ":" in part for part in parts) and len(parts) > 1
        if not plain or linked or member.is_dir() or not _belongs(inside) or inside in places:
            raise ValueError(f"{show(member.filename)} is not allowed in it")
        places.add(inside)
        found.append((member, inside))
    if not any(place.name == journal.NAME for place in places):
        raise ValueError("it has no runs")
    return found


def _belongs(place: PurePosixPath) -> bool:
    """Whether a file is allowed in a pack."""
    text = str(place)
    code = CODE in place.parts[:-1] and place.suffix == ".py"
    return text in (README, COMMANDS) or code or any(text == name or text.endswith(f"/{name}") for name in FILES)

"""Checks of the user's own YAML files, with messages that name the file and the remedy."""

import re
from collections.abc import Iterator, Sequence
from itertools import takewhile
from pathlib import Path

from omegaconf import DictConfig

from nasrun.core.config_files import GROUPS, conf_dir
from nasrun.core.options import ConfigError

PACKAGE = "# @package _global_"
"""The first line of a file whose keys are top-level keys of the config, as in every experiment."""

_PACKAGE, _HEADER = re.compile(r"#\s*@package\s+_global_"), re.compile(r"#\s*@")
"""That line as Hydra recognises it, and the header lines that Hydra searches."""

_MARK = b"\xef\xbb\xbf"


def check_own_files(config: DictConfig) -> None:
    """ConfigError if a file of the user that a composed config selects is ignored or misread.

    This happens if the file has the name of one of nasrun's, which is found first, or if an experiment lacks `PACKAGE`.
    """
    sources = [source for source in config.hydra.runtime.config_sources if source.schema == "file"]
    own = [Path(source.path) for source in sources if source.provider != "main"]
    for choice, option in config.hydra.runtime.choices.items():
        group = str(choice).partition("@")[0]
        for file in _files(own, group, str(option)):
            theirs = conf_dir() / group / file.name
            if theirs.is_file() and not theirs.samefile(file):
                raise ConfigError(f"{file}: is ignored, since nasrun has its own {group}={file.stem}; rename yours")
            # If keys are below the key `experiment`, the experiment lacks the line.
            top = group.partition("/")[0]
            if top in config and top not in (*GROUPS, "hydra"):
                check_package(file)


def check_package_of(folders: Sequence[str], name: str) -> None:
    """`check_package` for a file of the user, by its name in a search path (`experiment/mine`), if its keys belong at
    the top."""
    group, _, option = name.rpartition("/")
    if group and group.partition("/")[0] not in (*GROUPS, "hydra"):
        for file in _files(list(map(_path, folders)), group, option):
            check_package(file)


def check_package(file: Path) -> None:
    """ConfigError if a file lacks the line `PACKAGE`, or if Hydra does not recognise it."""
    start = file.read_bytes()[:512]
    if start.startswith(_MARK):
        raise ConfigError(f"{file}: starts with a byte-order mark, which hides its first line; save it without (UTF-8)")
    if not _has_package(start.decode(errors="replace")):
        raise ConfigError(f"{file}: its first line must be: {PACKAGE}")


def _has_package(start: str) -> bool:
    """Whether Hydra recognises the line `PACKAGE`: it must precede any other comment."""
    lines = (line.strip() for line in start.splitlines() if line.strip())
    return any(_PACKAGE.fullmatch(line) for line in takewhile(_HEADER.match, lines))


def check_encoding(folders: Sequence[str]) -> None:
    """Raise ConfigError for the first file in the folders of a search path that is not UTF-8 text."""
    for folder in map(_path, folders):
        for file in sorted(path for path in folder.rglob("*.yaml") if path.is_file()):
            content = file.read_bytes()
            try:
                readable = "\0" not in content.decode()
            except UnicodeDecodeError:
                readable = False
            if not readable:
                raise ConfigError(f"{file}: is not UTF-8 text (perhaps UTF-16); save it as UTF-8")


def check_main_file(folders: Sequence[str], name: str) -> None:
    """ConfigError if a main file of the user has the name of nasrun's main file."""
    for file in _files(map(_path, folders), "", name):
        if (conf_dir() / file.name).is_file():
            of_run = " (to repeat a run: nasrun rerun DIR)" if file.parent.name == ".hydra" else ""
            raise ConfigError(f"{file}: is ignored, since nasrun has its own {name}; rename yours{of_run}")


def misspelt_ending(folders: Sequence[str], group: str, name: str) -> str | None:
    """The message for an unknown option whose file has the ending .yml; None if there is no such file."""
    files = (path / group / f"{name}.yml" for path in map(_path, folders))
    return next((f"{file}: is ignored; its name must end in .yaml" for file in files if file.is_file()), None)


def _files(folders: Iterator[Path] | Sequence[Path], group: str, name: str) -> list[Path]:
    files = (_nearby(folder) / group / f"{name.removesuffix('.yaml')}.yaml" for folder in folders)
    return [file for file in files if file.is_file()]


def _path(folder: str) -> Path:
    return _nearby(Path(folder.removeprefix("file://")))


def _nearby(folder: Path) -> Path:
    """A folder relative to the working directory, if it is inside it."""
    here = Path.cwd()
    return folder.relative_to(here) if folder.is_relative_to(here) else folder

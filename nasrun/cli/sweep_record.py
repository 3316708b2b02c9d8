"""Resuming a sweep from the command recorded in its folder.

Hydra's sweeper writes `multirun.yaml` to the folder of a sweep. The folder may come from someone else, so that file may
select only what a stored run may select, nothing that runs code or accesses anything outside. The user has to type the
rest again.
"""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from nasrun.cli.arguments import Command
from nasrun.config.compose import SEARCH_PATH
from nasrun.config.overrides import in_full, quoted
from nasrun.core.options import ConfigError, shell_command
from nasrun.storage.stored_config import names_server, read_stored, refers_outside

FILE = "multirun.yaml"

_ANEW = ("hydra.mode", "hydra.sweep.dir", "hydra.sweeper.max_batch_size", "hydra/hydra_logging", "resume")
"""Keys that nasrun sets when a sweep is resumed."""


@dataclass(frozen=True)
class SweepRecord:
    """The words and flags with which a sweep was started. `words`: those that its folder may select.

    `typed_again`: those that it may not, because they select code or change what Hydra does.
    """

    words: tuple[str, ...]
    typed_again: tuple[str, ...]


def holds_sweep(directory: Path) -> bool:
    """Whether a folder belongs to a sweep."""
    return (directory / FILE).is_file()


def resumed_sweep(directory: Path, typed: Command) -> Command:
    """The command that resumes the sweep in a folder. `typed`: further words and flags, which take precedence.

    ConfigError if something has to be typed again.
    """
    record = _read(directory)
    words = in_full(typed.words)
    keys = {_key(word) for word in [*words, *typed.file_flags]}
    if any(key.startswith("hydra") for key in keys):  # a launcher on the command line overrides the recorded one
        keys |= {_key(word) for word in record.typed_again if word.startswith("hydra")}
    missing = [word for word in record.typed_again if _key(word) not in keys]
    if missing:
        again = shell_command("resume", directory, *missing, *typed.file_flags, *typed.words)
        chosen = shlex.join(missing)
        raise ConfigError(f"{directory}: was started with {chosen}, which must be typed again: {again}")
    own = [quoted(f"hydra.sweep.dir={directory}"), "resume=true"]
    return Command((*record.words, *words, *own), True, typed.config_dir, typed.config_name)


def how_to_go_on(directory: Path, command: Command) -> str:
    """What to type to resume a sweep that was started with a command and whose folder exists."""
    if holds_sweep(directory):
        again = [word for word in _read(directory).typed_again if not word.startswith("--")]
        return shell_command("resume", directory, *command.file_flags, *again)
    words = [word for word in command.words if _key(word) not in ("hydra.sweep.dir", "resume")]
    own = [quoted(f"hydra.sweep.dir={directory}"), "resume=true"]
    return shell_command("-m", *command.file_flags, *words, *own)


def _read(directory: Path) -> SweepRecord:
    """Parse the file; ConfigError if Hydra did not write it."""
    path = directory / FILE
    content: Any = OmegaConf.to_container(read_stored(path), resolve=False)
    try:
        node = content["hydra"]
        task, settings = node["overrides"]["task"], node["overrides"]["hydra"]
        sources = [(str(source["provider"]), str(source["path"])) for source in node["runtime"]["config_sources"]]
        name = node["job"]["config_name"]
        words = [str(word) for word in (*task, *settings) if _key(str(word)) not in _ANEW]
    except (KeyError, TypeError) as error:
        raise ConfigError(f"{path}: is not a valid record of a sweep ({type(error).__name__}: {error})") from error
    folders = [folder for provider, folder in sources if provider == "command-line"]
    files = [f"--config-dir={folder}" for folder in folders[:1]]
    files += [] if name in (None, "config") else [f"--config-name={name}"]
    files += [f"{SEARCH_PATH}=[{','.join(folders[1:])}]"] if folders[1:] else []
    again = [word for word in words if _only_the_user(word)]
    return SweepRecord(tuple(word for word in words if word not in again), (*files, *again))


def _only_the_user(word: str) -> bool:
    """Whether a word selects code, changes what Hydra does or where a tracker reports, or reads the environment."""
    to_server = _key(word).startswith("tracker") and names_server(word.partition("=")[2])
    return word.lstrip("+~").startswith("hydra") or "_target_" in word or to_server or refers_outside(word)


def _key(word: str) -> str:
    return word.lstrip("+~").partition("=")[0]

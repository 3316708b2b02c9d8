"""Composition of configs with Hydra, with one-line errors: the key, the invalid value, and what is expected."""

import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import MissingConfigException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, read_write
from omegaconf.errors import InterpolationToMissingValueError, OmegaConfBaseException
from yaml import MarkedYAMLError
from yaml.reader import ReaderError

from nasrun.config import trackers
from nasrun.config.hydra_scope import initialized, searching
from nasrun.config.overrides import in_full, parse, refuse_several, text_of, values_of
from nasrun.config.own_files import check_encoding, check_own_files, check_package_of, misspelt_ending
from nasrun.config.sections import option_names
from nasrun.config.suggestions import meant_by
from nasrun.core.config_files import GROUPS, REPRODUCTIONS
from nasrun.core.home import at_home
from nasrun.core.options import ConfigError, first_line, join, nearest, shell_command, show

SEARCH_PATH = "hydra.searchpath"

_NAMING = re.compile(r"In '([^']+)': ")
"""The start of Hydra's message about a file that is missing."""


@dataclass(frozen=True)
class Jobs:
    """The jobs of a command line. `configs`: composed configs that together contain every value of every key.

    `swept`: the keys with several values. `count`: the number of combinations; None if the sweeper decides.
    """

    sweep: bool
    configs: Iterator[DictConfig]
    swept: frozenset[str] = frozenset()
    count: int | None = 1


class Composer:
    """Composes configs from nasrun's YAML files and those in the user's folders, which are searched second.

    `folders`: in the form of Hydra's search path (`file://PATH`, `pkg://PACKAGE`). `config_name`: the main file.
    """

    def __init__(self, folders: Sequence[str] = (), config_name: str = "config") -> None:
        self._folders, self.config_name = tuple(folders), config_name

    def searching(self) -> AbstractContextManager[None]:
        """A scope in which every search path that Hydra creates includes the user's folders."""
        return searching(self._folders)

    def compose(self, words: Sequence[str]) -> DictConfig:
        """The composed config of one job, including the `hydra` node; ConfigError if the words are invalid."""
        words = in_full(words)
        overrides = parse(words)
        refuse_several(overrides)
        with initialized(self._folders) as loader:
            groups = {*GROUPS, "experiment", *loader.list_groups("")}
            choices = [override for override in overrides if _is_choice(override, groups)]
            for override in choices:
                _check_choice(override)
            try:
                config = self._compose(words)
            except ConfigError:
                # Report an unknown key together with the nearest known one.
                base = self._compose([text_of(override) for override in choices])
                for override in overrides:
                    if override not in choices and not override.is_add():
                        _check_key(base, override, groups)
                raise
        check_own_files(config)
        _check_trackers(config, choices)
        HydraConfig.instance().set_config(config)  # for references such as ${hydra:runtime.choices.strategy}
        return config

    def jobs(self, words: Sequence[str], multirun: bool = False) -> Jobs:
        """The jobs of a command line: one run or a sweep.

        It is a sweep with -m, or if an experiment sets `hydra.mode`, with its values in `hydra.sweeper.params`.
        """
        words = in_full(words)
        config = self.compose(next(combined(self.values(words))))
        if not multirun and config.hydra.mode is not RunMode.MULTIRUN:
            refuse_several(parse(words))
            return Jobs(False, iter([config]))
        # As in Hydra's own sweeper, the command line comes second and takes precedence.
        params = config.hydra.sweeper.get("params") or {}
        words = [*in_full([f"{key}={value}" for key, value in params.items()]), *words]
        values = self.values(words)
        several = frozenset(override.key_or_group for override in parse(words) if override.is_sweep_override())
        known = config.hydra.runtime.choices["hydra/sweeper"] == "basic"
        count = math.prod(map(len, values.values())) if known else None
        return Jobs(True, (self.compose(job) for job in combined(values)), several, count)

    def values(self, words: Sequence[str]) -> dict[str, list[str]]:
        """For each key of a sweep one word per value (`nasrun.config.overrides.values_of`)."""
        with initialized(self._folders) as loader:
            return values_of(parse(in_full(words)), loader)

    def forced(self, words: Sequence[str]) -> dict[str, str]:
        """Replacements for words of a sweep that set a key of swept options: word to forced word (`++KEY=VALUE`).

        Before its first job Hydra composes a config without the swept options, and rejects keys that it lacks.
        """
        overrides = parse(in_full(words))
        alone = [override for override in overrides if not override.is_sweep_override()]
        with initialized(self._folders) as loader:
            groups = {*GROUPS, "experiment", *loader.list_groups("")}
            if not any(_is_choice(override, groups) for override in overrides if override.is_sweep_override()):
                return {}
            base = self._compose([text_of(override) for override in alone if _is_choice(override, groups)])
        plain = [override for override in alone if override.type is OverrideType.CHANGE]
        values = [override for override in plain if not _is_choice(override, groups)]
        missing = [text_of(override) for override in values if not _has_key(base, override, groups)]
        return {word: f"++{word}" for word in missing}

    def _compose(self, words: Sequence[str]) -> DictConfig:
        try:
            return hydra.compose(self.config_name, list(words), return_hydra_config=True)
        except MissingConfigException as error:
            raise ConfigError(_missing(error, self._folders)) from error
        except RecursionError as error:
            raise ConfigError("a YAML file names itself in its defaults list, or two name each other") from error
        except MarkedYAMLError as error:
            where = f"{error.problem_mark.name}:{error.problem_mark.line + 1}" if error.problem_mark else "YAML"
            raise ConfigError(f"{where}: cannot be read ({error.problem})") from error
        except (UnicodeDecodeError, ReaderError) as error:
            check_encoding(self._folders)
            raise ConfigError(f"a YAML file cannot be read ({first_line(error)})") from error
        except Exception as error:  # besides its own errors, Hydra raises plain ValueError and AttributeError
            naming = _NAMING.match(str(error))
            if naming is not None:
                check_package_of(self._folders, naming[1])
            cause = error.__cause__
            detail = f" ({first_line(cause)})" if cause is not None and first_line(cause) not in str(error) else ""
            first, *more = [line.strip() for line in str(error).splitlines() if line.strip()] or [first_line(error)]
            raise ConfigError(" ".join([first, *(more[:1] if first.endswith(":") else [])]) + detail) from error


def compose_config(words: Sequence[str], config_dir: str | None = None, config_name: str = "config") -> DictConfig:
    """Compose the config of one run. `config_dir`: a folder with YAML files of the user."""
    words, folders = own_folders(words, config_dir)
    return Composer(folders, config_name).compose(words)


def own_folders(words: Sequence[str], config_dir: str | None) -> tuple[list[str], list[str]]:
    """The words without `hydra.searchpath=[...]`, and the folders named by it and by --config-dir."""
    folders = []
    if config_dir is not None:
        if not Path(config_dir).is_dir():
            raise ConfigError(f"--config-dir={config_dir}: no such folder")
        folders.append(f"file://{Path(config_dir).resolve()}")
    others = []
    for word in words:
        if word.lstrip("+").partition("=")[0] != SEARCH_PATH:
            others.append(word)
            continue
        (override,) = parse(in_full([word]))
        listed = override.value()
        folders += [_search_path(folder, word) for folder in (listed if isinstance(listed, list) else [listed])]
    return others, folders


def _search_path(folder: Any, word: str) -> str:
    """An entry of `hydra.searchpath`: a folder as an absolute path, a package unchanged."""
    if not isinstance(folder, str):
        raise ConfigError(f"{word}: expected a list of folders in [ ]")
    if folder.startswith("pkg://"):
        _check_package(folder.removeprefix("pkg://"))
        return folder
    path = at_home(folder.removeprefix("file://"))
    if not path.is_dir():
        raise ConfigError(f"{SEARCH_PATH}: {path}: no such folder")
    return f"file://{path.resolve()}"


def _check_package(name: str) -> None:
    """ConfigError if a package of `hydra.searchpath` does not exist; Hydra would ignore it."""
    package = name.split("/")[0]
    try:
        found = package and find_spec(package)
    except (ImportError, ValueError):
        found = None
    if not found:
        raise ConfigError(
            f"{SEARCH_PATH}: pkg://{name}: no such package on Python's path; type: PYTHONPATH=FOLDER nasrun ..."
        )


def output_directory(config: DictConfig, *, sweep: bool) -> Path:
    """The directory of a run, or of all runs of a sweep, from a composed config."""
    node = config.hydra.sweep if sweep else config.hydra.run
    try:
        return at_home(node.dir)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{error.full_key}: {first_line(error)}") from error


def first_directory(config: DictConfig) -> Path:
    """The directory of the first run of a sweep, from a composed config."""
    numbered = config.copy()
    with read_write(numbered.hydra.job):
        numbered.hydra.job.num, numbered.hydra.job.id = 0, "0"
    try:
        return output_directory(numbered, sweep=True) / str(numbered.hydra.sweep.subdir)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{error.full_key}: {first_line(error)}") from error


def is_named_by_clock(config: DictConfig, *, sweep: bool) -> bool:
    """Whether the directory of a run or sweep is named after its start time, that is, was not chosen by the user."""
    node: Any = OmegaConf.to_container(config.hydra.sweep if sweep else config.hydra.run, resolve=False)
    return "${now:" in str(node["dir"])


def task_config(config: DictConfig) -> DictConfig:
    """A composed config without its `hydra` node."""
    copy: Any = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    return copy  # type: ignore[no-any-return]


def combined(by_key: Mapping[str, Sequence[str]]) -> Iterator[list[str]]:
    """Lists of words that together contain every value of every key at least once.

    Each key's values are combined with the first values of the others, so that the number of checks is the sum of the
    numbers of values, not their product.
    """
    values = list(by_key.values())
    first = [options[0] for options in values]
    yield first
    for position, options in enumerate(values):
        for option in options[1:]:
            yield [*first[:position], option, *first[position + 1 :]]


def _missing(error: MissingConfigException, folders: Sequence[str]) -> str:
    """The message for an option without YAML file, with the nearest option that has one."""
    group, _, name = (error.missing_cfg_file or "").rpartition("/")
    ending = misspelt_ending(folders, group, name)
    if ending:
        return ending
    if not group:
        return f"--config-name={name}: no such file; nasrun's own is config"
    naming = _NAMING.match(str(error))  # the file whose defaults list names it, where that is not the main config
    where = "" if naming is None or "/" not in naming[1] else f"{naming[1]}.yaml: its defaults list names "
    return f"{where}{group}={name}: no such option; {nearest(name, error.options or option_names(group))}"


def _is_choice(override: Override, groups: Collection[str]) -> bool:
    """Whether a word selects an option of a group, rather than setting a value."""
    return override.key_or_group in groups or "/" in override.key_or_group or override.package is not None


def _check_choice(override: Override) -> None:
    """Raise ConfigError unless the override of a group is the name of one option."""
    group, value = override.key_or_group, override.value()
    if group == REPRODUCTIONS:
        raise ConfigError(f"{override.input_line}: is not an option; type: {shell_command('reproduce', value)}")
    known = GROUPS if group in GROUPS else ("experiment",)
    if group == trackers.GROUP and (isinstance(value, list) or override.package is not None):
        return  # several trackers are allowed
    if override.is_add() and group in known and isinstance(value, str):
        raise ConfigError(f"{override.input_line}: nothing to add to; write {group}={value}")
    if override.is_delete() or isinstance(value, str | dict) or (isinstance(value, list) and group not in GROUPS):
        return
    names = option_names(group) if group in known else []
    raise ConfigError(f"{group}={show(value)}: expected the name of an option; {nearest(str(value), names)}")


def _check_trackers(config: DictConfig, choices: Sequence[Override]) -> None:
    """Raise ConfigError if one of several trackers has overwritten another."""
    for override in choices:
        several = override.value() if override.key_or_group == trackers.GROUP and not override.is_delete() else None
        for name in several if isinstance(several, list) and override.package is None else ():
            if name not in (config.get(trackers.GROUP) or ()):
                raise ConfigError(
                    f"{override.input_line}: the keys of {name} overwrite the others; start its YAML file with "
                    f"# @package {trackers.GROUP}.{name}"
                )


def _has_key(config: DictConfig, override: Override, groups: Collection[str]) -> bool:
    """Whether the key of a value override is in the config."""
    try:
        _check_key(config, override, groups)
    except ConfigError:
        return False
    return True


def _check_key(config: DictConfig, override: Override, groups: Collection[str]) -> None:
    """Raise ConfigError unless the key of a value override is in the config."""
    path, node = "", cast(Any, config)
    for name in override.key_or_group.split("."):
        keys = list(node.keys()) if isinstance(node, DictConfig) else []
        if name not in keys:
            if override.is_force_add() and path == "vars":
                return
            known = [str(key) for key in keys if not str(key).startswith("_")]
            known = [key for key in known if key != "hydra"] + sorted(groups) if not path else known
            if not isinstance(node, DictConfig):
                raise ConfigError(f"{override.key_or_group}: no such key; {path} is a single value")
            raise ConfigError(f"{join(path, name)}: no such key; {meant_by(config, path, name, known)}")
        path = join(path, name)
        try:
            node = OmegaConf.select(config, path, throw_on_missing=False)
        except InterpolationToMissingValueError:  # hydra.job.num, in the names of sweep folders, is set later
            node = None

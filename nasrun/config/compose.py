"""Hydra's composition, with its errors said in one line: the key, the bad value, and what would be right."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

from hydra import version
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationToMissingValueError, OmegaConfBaseException
from yaml import MarkedYAMLError

from nasrun.config import trackers
from nasrun.config.build import option_names
from nasrun.config.help import suggest
from nasrun.core.config_files import GROUPS, conf_dir
from nasrun.core.options import ConfigError, first_line, join, nearest, show

_UNREADABLE = "cannot be read; expected key=value (quote what a shell would eat)"


def compose_config(overrides: Sequence[str], config_dir: str | None = None, config_name: str = "config") -> DictConfig:
    """The composed config of one job, the `hydra` node included; ConfigError where the overrides do not fit.

    `config_dir`: a folder of the user's own YAML files, searched after nasrun's.
    """
    parsed = parse(overrides)
    for override in parsed:
        if override.is_sweep_override():
            raise ConfigError(f"{override.input_line}: several values make a sweep, which needs -m (--multirun)")
    groups = _group_names(config_dir)
    chosen = [o for o in parsed if o.key_or_group in groups or o.key_or_group.startswith("hydra/")]
    for override in chosen:
        _check_choice(override)
    base = _compose([_text(o) for o in chosen], config_dir, config_name)
    for override in parsed:
        if override not in chosen and not override.is_add():
            _check_key(base, override, groups)
    config = _compose(overrides, config_dir, config_name)
    _check_trackers(config, chosen)
    return config


def jobs(
    overrides: Sequence[str], multirun: bool, config_dir: str | None, config_name: str
) -> tuple[bool, Iterator[DictConfig]]:
    """Whether a command line is a sweep, and the composed configs that stand for all that it would run.

    It is one with -m, and also where an experiment sets `hydra.mode`; what that sweeps is in `hydra.sweeper.params`.
    """
    words = next(expand(overrides, config_dir))
    first = compose_config(words, config_dir, config_name)
    if not multirun and first.hydra.mode is not RunMode.MULTIRUN:
        # Words that differ held several values, which this refuses.
        return False, iter([first if words == list(overrides) else compose_config(overrides, config_dir, config_name)])
    # As Hydra's own sweeper does, the command line comes second and wins.
    swept = [f"{key}={value}" for key, value in (first.hydra.sweeper.get("params") or {}).items()]
    combined = expand([*swept, *overrides], config_dir)
    return True, (compose_config(job, config_dir, config_name) for job in combined)


def output_directory(config: DictConfig, *, sweep: bool) -> Path:
    """The directory of a run, or of all runs of a sweep, from a composed config."""
    node = config.hydra.sweep if sweep else config.hydra.run
    try:
        return Path(node.dir)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{error.full_key}: {first_line(error)}") from error


def in_full(words: Sequence[str]) -> list[str]:
    """The words of a command line, those that are short for others written as these.

    A section cannot be replaced by a list, so `objective=NAME` and `objective=[NAME,...]` are `objective.metric=...`;
    `tracker.KEY` belongs to the one tracker that is chosen.
    """
    full = []
    for word in words:
        try:
            override = OverridesParser.create().parse_override(word) if word.startswith("objective=") else None
        except (OverrideParseException, HydraException):
            override = None  # said where all are parsed
        short = override is not None and (override.is_sweep_override() or isinstance(override.value(), str | list))
        full.append(f"objective.metric={word.partition('=')[2]}" if short else word)
    return trackers.in_full(full, option_names(trackers.GROUP))


def parse(overrides: Sequence[str]) -> list[Override]:
    """Parsed overrides; ConfigError names one that is not of the form key=value."""
    parser = OverridesParser.create()
    parsed = []
    for text in overrides:
        if "=" not in text and not text.startswith("~"):
            raise ConfigError(f"{text}: neither a verb nor key=value; {suggest(text)}")
        try:
            override = parser.parse_override(text)
        except (OverrideParseException, HydraException) as error:
            raise ConfigError(f"{text}: {_UNREADABLE}") from error
        if not override.key_or_group:
            raise ConfigError(f"{text}: {_UNREADABLE}")
        parsed.append(override)
    return parsed


def expand(overrides: Sequence[str], config_dir: str | None = None) -> Iterator[list[str]]:
    """For a sweep: override lists that together hold every value of every swept key at least once.

    Each key's values are tried with the first values of the others, so that checking grows with the sum of the
    values and not with their product. Of a key that is given twice, the later one counts.
    """
    by_key: dict[str, list[str]] = {}
    with _hydra(config_dir) as hydra:
        for override in parse(overrides):
            override.config_loader = hydra.config_loader  # for glob(*) over the options of a group
            key = override.get_key_element()
            try:
                swept = list(override.sweep_string_iterator()) if override.is_sweep_override() else None
            except (HydraException, ValueError, TypeError) as error:
                raise ConfigError(f"{override.input_line}: cannot be swept ({first_line(error)})") from error
            if swept == []:
                raise ConfigError(f"{override.input_line}: matches nothing")
            by_key[key] = [_text(override)] if swept is None else [f"{key}={value}" for value in swept]
    values = list(by_key.values())
    first = [options[0] for options in values]
    yield first
    for position, options in enumerate(values):
        for option in options[1:]:
            yield [*first[:position], option, *first[position + 1 :]]


def _text(override: Override) -> str:
    assert override.input_line is not None
    return override.input_line


def _group_names(config_dir: str | None) -> set[str]:
    folders = [conf_dir(), *([Path(config_dir)] if config_dir else [])]
    return {path.name for folder in folders if folder.is_dir() for path in folder.iterdir() if path.is_dir()}


@contextlib.contextmanager
def _hydra(config_dir: str | None) -> Iterator[Hydra]:
    """Hydra with the search path that `hydra.main` gives it."""
    search_path = create_config_search_path(f"file://{conf_dir()}")
    if config_dir is not None:
        if not Path(config_dir).is_dir():
            raise ConfigError(f"--config-dir={config_dir}: no such folder")
        search_path.prepend("command-line", f"file://{Path(config_dir).resolve()}", SearchPathQuery(provider="schema"))
    version.setbase("1.3")
    GlobalHydra.instance().clear()
    try:
        yield Hydra.create_main_hydra2("nasrun", search_path)
    finally:
        GlobalHydra.instance().clear()


def _compose(overrides: Sequence[str], config_dir: str | None, config_name: str) -> DictConfig:
    with _hydra(config_dir) as hydra:
        try:
            return hydra.compose_config(
                config_name, list(overrides), RunMode.RUN, with_log_configuration=False, from_shell=False
            )
        except MissingConfigException as error:
            raise ConfigError(_missing(error)) from error
        except MarkedYAMLError as error:
            where = f"{error.problem_mark.name}:{error.problem_mark.line + 1}" if error.problem_mark else "YAML"
            raise ConfigError(f"{where}: cannot be read ({error.problem})") from error
        except Exception as error:  # besides its own, Hydra lets through a plain ValueError or AttributeError
            cause = error.__cause__
            detail = f" ({first_line(cause)})" if cause is not None and first_line(cause) not in str(error) else ""
            raise ConfigError(first_line(error) + detail) from error


def _missing(error: MissingConfigException) -> str:
    """Names the option of a group that has no YAML file, and the nearest that has."""
    group, _, name = (error.missing_cfg_file or "").rpartition("/")
    if not group:
        return f"--config-name={name}: no such file; nasrun's own is config"
    return f"{group}={name}: no such option; {nearest(name, error.options or option_names(group))}"


def _check_choice(override: Override) -> None:
    """Raise ConfigError unless the override of a group gives what the group takes: the name of one option."""
    group, value = override.key_or_group, override.value()
    known = GROUPS if group in GROUPS else ("experiment",)
    if group == trackers.GROUP and (isinstance(value, list) or override.package is not None):
        return  # several at once
    if override.is_add() and group in known and isinstance(value, str):
        raise ConfigError(f"{override.input_line}: nothing to add to; write {group}={value}")
    if override.is_delete() or isinstance(value, str | dict) or (isinstance(value, list) and group not in GROUPS):
        return
    names = option_names(group) if group in known else []
    raise ConfigError(f"{group}={show(value)}: expected the name of an option; {nearest(str(value), names)}")


def _check_trackers(config: DictConfig, chosen: Sequence[Override]) -> None:
    """Raise ConfigError where of several trackers one was composed over another."""
    for override in chosen:
        several = override.value() if override.key_or_group == trackers.GROUP and not override.is_delete() else None
        for name in several if isinstance(several, list) and override.package is None else ():
            if name not in (config.get(trackers.GROUP) or ()):
                raise ConfigError(
                    f"{override.input_line}: the keys of {name} take the place of the others; begin its YAML file with "
                    f"# @package {trackers.GROUP}.{name}"
                )


def _check_key(config: DictConfig, override: Override, groups: set[str]) -> None:
    """Raise ConfigError unless the key of a value override is in the config."""
    path, node = "", cast(Any, config)
    for name in override.key_or_group.split("."):
        keys = list(node.keys()) if isinstance(node, DictConfig) else []
        if name not in keys:
            known = [str(key) for key in keys if not str(key).startswith("_")]
            known = [key for key in known if key != "hydra"] + sorted(groups) if not path else known
            if not isinstance(node, DictConfig):
                raise ConfigError(f"{override.key_or_group}: no such key; {path} is a single value")
            raise ConfigError(f"{join(path, name)}: no such key; {nearest(name, set(known))}")
        path = join(path, name)
        try:
            node = OmegaConf.select(config, path, throw_on_missing=False)
        except InterpolationToMissingValueError:  # hydra.job.num, which a sweep's folders are named by, comes later
            node = None


def task_config(config: DictConfig) -> DictConfig:
    """A composed config without its `hydra` node."""
    copy: Any = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    return copy  # type: ignore[no-any-return]

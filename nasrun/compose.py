"""Hydra's composition, with its errors said in one line: the key, the bad value, and what would be right."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from nasrun.config import first_line
from nasrun.config_files import conf_dir
from nasrun.schema import ConfigError, join, nearest


def compose_config(overrides: Sequence[str], config_dir: str | None = None, config_name: str = "config") -> DictConfig:
    """The composed config of one job, the `hydra` node included; ConfigError where the overrides do not fit.

    `config_dir`: a folder of the user's own YAML files, searched before nasrun's.
    """
    parsed = parse(overrides)
    for override in parsed:
        if override.is_sweep_override():
            raise ConfigError(f"{override.input_line}: several values make a sweep, which needs -m (--multirun)")
    groups = _group_names(config_dir)
    chosen = [o for o in parsed if o.key_or_group in groups or o.key_or_group.startswith("hydra/")]
    base = _compose([_text(o) for o in chosen], config_dir, config_name)
    for override in parsed:
        if override not in chosen and not override.is_add():
            _check_key(base, override, groups)
    return _compose(overrides, config_dir, config_name)


def parse(overrides: Sequence[str]) -> list[Override]:
    """Parsed overrides; ConfigError names one that is not of the form key=value."""
    parser = OverridesParser.create()
    parsed = []
    for text in overrides:
        try:
            parsed.append(parser.parse_override(text))
        except (OverrideParseException, HydraException) as error:
            raise ConfigError(f"{text}: cannot be read; expected key=value (quote what a shell would eat)") from error
    return parsed


def expand(overrides: Sequence[str]) -> Iterator[list[str]]:
    """For a sweep: override lists that together hold every value of every swept key at least once.

    Each key's values are tried with the first values of the others, so that checking grows with the sum of the
    values and not with their product.
    """
    values = []
    for override in parse(overrides):
        try:
            swept = list(override.sweep_string_iterator()) if override.is_sweep_override() else None
        except (HydraException, ValueError, TypeError) as error:
            raise ConfigError(f"{override.input_line}: cannot be swept ({first_line(error)})") from error
        key = override.get_key_element()
        values.append([_text(override)] if swept is None else [f"{key}={value}" for value in swept])
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


def _compose(overrides: Sequence[str], config_dir: str | None, config_name: str) -> DictConfig:
    if config_dir is not None:
        if not Path(config_dir).is_dir():
            raise ConfigError(f"--config-dir={config_dir}: no such folder")
        overrides = [*overrides, f"hydra.searchpath=['file://{Path(config_dir).resolve()}']"]
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(conf_dir()), version_base="1.3", job_name="nasrun"):
            return compose(config_name, overrides=list(overrides), return_hydra_config=True)
    except MissingConfigException as error:
        raise ConfigError(_missing(error)) from error
    except (HydraException, OmegaConfBaseException) as error:
        cause = error.__cause__
        detail = f" ({first_line(cause)})" if cause is not None and first_line(cause) not in str(error) else ""
        raise ConfigError(first_line(error) + detail) from error
    finally:
        GlobalHydra.instance().clear()


def _missing(error: MissingConfigException) -> str:
    """Names the option of a group that has no YAML file, and the nearest that has."""
    group, _, name = (error.missing_cfg_file or "").rpartition("/")
    if not group:
        return first_line(error)
    return f"{group}={name}: no such option; {nearest(name, error.options or ())}"


def _check_key(config: DictConfig, override: Override, groups: set[str]) -> None:
    """Raise ConfigError unless the key of a value override is in the config."""
    path, node = "", config
    for name in override.key_or_group.split("."):
        keys = list(node.keys()) if isinstance(node, DictConfig) else []
        if name not in keys:
            known = [str(key) for key in keys if not str(key).startswith("_")]
            known = [key for key in known if key != "hydra"] + sorted(groups) if not path else known
            if not known:
                raise ConfigError(f"{override.key_or_group}: no such key; {path} is a single value")
            raise ConfigError(f"{join(path, name)}: no such key; {nearest(name, set(known))}")
        path, node = join(path, name), OmegaConf.select(config, join(path, name), throw_on_missing=False)


def task_config(config: DictConfig) -> DictConfig:
    """A composed config without its `hydra` node."""
    copy: Any = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    return copy  # type: ignore[no-any-return]

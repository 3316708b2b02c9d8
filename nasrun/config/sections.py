"""Creates the object that a config section describes.

`_target_` names a class, whose signature defines the other keys (`nasrun.core.options`).
"""

import importlib
import inspect
from typing import Any, TypeVar

from nasrun.config.given import Section
from nasrun.core import SearchSpace
from nasrun.core.config_files import conf_dir
from nasrun.core.option_files import option_values
from nasrun.core.options import (
    ConfigError,
    check_options,
    check_section,
    first_line,
    gathered,
    join,
    nearest,
    show,
)
from nasrun.storage.stored_config import MARK, passed_in

T = TypeVar("T")


def section_of(content: dict[str, Any], name: str, kind: type[T]) -> T:
    """The checked options of a section that is not a config group."""
    return kind(**check_section(kind, mapping(content, name), name))


def mapping(content: dict[str, Any], name: str) -> dict[str, Any]:
    """The keys and values of a section; ConfigError if it is a single value."""
    value = content.get(name, {})
    if not isinstance(value, dict):
        raise ConfigError(f"{name}={show(value)}: expected keys below {name}, as in {name}.KEY=VALUE")
    return {str(key): entry for key, entry in value.items()}


def create(content: dict[str, Any], group: str, base: type[T], *runtime: Any) -> T:
    """Create the `base` of a group's section: call `_target_` with `runtime` and the checked options."""
    if isinstance(content.get(group), Section):
        return content[group].make(group, base, runtime)  # type: ignore[no-any-return]
    if MARK in mapping(content, group):
        raise ConfigError(passed_in(content, group))
    kind_of(content, group, base)
    return instantiate(mapping(content, group), group, base, *runtime)


def instantiate(section: dict[str, Any], path: str, base: type[T], *runtime: Any) -> T:
    """Create the `base` of the section at a dotted path."""
    options = dict(section)
    kind = locate(options.pop("_target_"), base, join(path, "_target_"))
    checked = check_options(kind, options, path)
    try:
        made = kind(*runtime, **gathered(kind, checked))
        if isinstance(made, SearchSpace) and made.section is None:
            made.section = {"_target_": f"{kind.__module__}.{kind.__qualname__}", **checked}
        return made
    except ValueError as error:
        raise ConfigError(f"{path}.{first_line(error)}") from error


def kind_of(content: dict[str, Any], group: str, base: type[T]) -> type[T]:
    """The class named by a group's section."""
    section = mapping(content, group)
    if "_target_" not in section:
        if section:
            raise ConfigError(f"{group}._target_: missing; the YAML file of an option names its class there")
        raise ConfigError(f"{group}: not chosen; {nearest('', option_names(group))}")
    return locate(section["_target_"], base, join(group, "_target_"))


def locate(target: Any, base: type[T], path: str) -> type[T]:
    """The class at a dotted path; ConfigError if it does not exist, or is not a concrete subclass of `base`."""
    module, _, name = str(target).rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except Exception as error:  # a user's module may raise any exception on import
        first = module.partition(".")[0]
        outside = isinstance(error, ModuleNotFoundError) and error.name == first
        where = f"; its folder must be on Python's path: PYTHONPATH=FOLDER nasrun ... (FOLDER has {first}.py)"
        reason = f"cannot be imported ({first_line(error)}){where if outside else ''}"
        raise ConfigError(f"{path}={show(target)}: {reason}") from error
    if not isinstance(found, type) or not issubclass(found, base) or inspect.isabstract(found):
        package = base.__module__.rpartition(".")[0]
        exported = getattr(importlib.import_module(package), base.__name__, None) is base
        public = package if exported else base.__module__
        begun = isinstance(found, type) and issubclass(found, base) and found is not base
        missing = sorted(found.__abstractmethods__) if begun else []
        lacks = f"; it lacks {' and '.join(missing)}" if missing else ""
        raise ConfigError(f"{path}={target}: expected a class that implements {public}.{base.__name__}{lacks}")
    return found


def option_section(group: str, name: Any) -> dict[str, Any]:
    """The section of an option of a group; ConfigError if there is no such option."""
    known = option_names(group)
    if name not in known:
        raise ConfigError(f"{group}={show(name)}: no such option; {nearest(str(name), known)}")
    return option_values(group, name)


def option_names(group: str) -> list[str]:
    """The options of a group: the names of its YAML files."""
    return sorted(path.stem for path in (conf_dir() / group).glob("*.yaml"))

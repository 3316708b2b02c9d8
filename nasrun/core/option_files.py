"""What nasrun's own YAML files of options say, read without Hydra."""

import importlib
from collections.abc import Mapping
from typing import Any

import yaml

from nasrun.core.config_files import conf_dir


def option_values(group: str, name: str) -> dict[str, Any]:
    """The keys of an option of a config group, with those of the files that its defaults list names.

    Args:
        group: A config group, such as `strategy`.
        name: An option that ships with nasrun, such as `dqn`, or a file below the group, such as `parts/x`.
    """
    content: dict[str, Any] = yaml.safe_load((conf_dir() / group / f"{name}.yaml").read_text(encoding="utf-8"))
    values: dict[str, Any] = {}
    for base in bases(content):
        values |= option_values(group, base)
    return {**values, **{key: value for key, value in content.items() if key != "defaults"}}


def bases(content: Mapping[str, Any]) -> list[str]:
    """The files of the same group that the defaults list of an option builds on (not those it overrides in others)."""
    named = [item.partition("@")[0] for item in content.get("defaults", []) if isinstance(item, str)]
    return [name for name in named if name != "_self_"]


def option_classes(group: str) -> dict[str, Any]:
    """The class of each option of a config group that ships with nasrun, by option name."""
    found = {}
    for path in sorted((conf_dir() / group).glob("*.yaml")):
        module, _, name = str(option_values(group, path.stem)["_target_"]).rpartition(".")
        found[path.stem] = getattr(importlib.import_module(module), name)
    return found

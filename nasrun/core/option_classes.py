"""The classes named by nasrun's YAML files, for error messages that list them."""

import importlib
from typing import Any

import yaml

from nasrun.core.config_files import conf_dir


def option_classes(group: str) -> dict[str, Any]:
    """The class of each option of a config group that ships with nasrun, by option name."""
    found = {}
    for path in sorted((conf_dir() / group).glob("*.yaml")):
        module, _, name = str(yaml.safe_load(path.read_text(encoding="utf-8"))["_target_"]).rpartition(".")
        found[path.stem] = getattr(importlib.import_module(module), name)
    return found

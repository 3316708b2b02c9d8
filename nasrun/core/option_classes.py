"""The classes that the YAML files of nasrun name: what an error message may list without a list of its own."""

import importlib
from typing import Any

import yaml

from nasrun.core.config_files import conf_dir


def option_classes(group: str) -> dict[str, Any]:
    """The class of each option of a group that comes with nasrun, by name."""
    found = {}
    for path in sorted((conf_dir() / group).glob("*.yaml")):
        module, _, name = str(yaml.safe_load(path.read_text(encoding="utf-8"))["_target_"]).rpartition(".")
        found[path.stem] = getattr(importlib.import_module(module), name)
    return found

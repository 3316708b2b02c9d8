"""The options of a config that are paths, from the annotations of its classes."""

from typing import Any

from nasrun.config.sections import locate
from nasrun.config.trackers import class_sections
from nasrun.core.options import join, paths
from nasrun.storage.stored_config import MARK


def path_options(config: dict[str, Any]) -> dict[str, str | None]:
    """The dotted keys of a checked config that are paths (`nasrun.core.options.IsPath`), with their values.

    Unset ones are included only if they may be set later (`nasrun.storage.paths.movable`).
    """
    found: dict[str, str | None] = {}
    for group, section in class_sections(config).items():
        if "_target_" not in section or MARK in section:  # objects of the calling program have no options
            continue
        for name, rule in paths(locate(section["_target_"], object, group)).items():
            value = section.get(name)
            if value not in rule.names and (value is not None or group == "dataset"):
                found[join(group, name)] = value
    return found

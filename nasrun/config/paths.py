"""Which options of a config are paths: the annotations of its classes say so."""

from typing import Any

from nasrun.config.build import locate
from nasrun.config.trackers import class_sections
from nasrun.core.options import join, paths
from nasrun.storage.paths import VERIFIED


def path_options(config: dict[str, Any]) -> dict[str, str | None]:
    """The dotted keys of a checked config that are paths (`nasrun.core.options.IsPath`), with their values.

    One that is not set is among them only where it may be set later (`nasrun.storage.paths.movable`).
    """
    found: dict[str, str | None] = {}
    for group, section in class_sections(config).items():
        for name, rule in paths(locate(section["_target_"], object, group)).items() if "_target_" in section else ():
            value = section.get(name)
            if value not in rule.names and (value is not None or group in VERIFIED):
                found[join(group, name)] = value
    return found

"""The section `tracker` of a config: any number of trackers, each with its keys below its name.

The first line of a tracker's YAML file, `# @package tracker.NAME`, puts its keys there, so that Hydra can compose
several (`tracker=[csv,mlflow]`). Without that line, as in a user's file or in stored configs of versions with a single
tracker, the section is the tracker itself.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from typing import Any

from nasrun.core.config_files import GROUPS, conf_dir
from nasrun.core.options import ConfigError, join, show

GROUP = "tracker"
TARGET = "_target_"
_CHOICE = re.compile(rf"{GROUP}=(\w+)")
_KEY = re.compile(rf"(\+\+|)({GROUP}\.[^=]+)(=(?!\{{).*)", re.DOTALL)
"""A word that sets one key below the section."""


def sections_by_name(section: Any) -> dict[str, dict[str, Any]]:
    """The sections of all trackers by name; ConfigError if the section is malformed or mixes both forms."""
    if not isinstance(section, Mapping):
        raise ConfigError(f"{GROUP}={show(section)}: expected keys below {GROUP}, as in {GROUP}.NAME.KEY=VALUE")
    if TARGET not in section:
        for name, inner in section.items():
            if not isinstance(inner, Mapping) or TARGET not in inner:
                raise ConfigError(f"{join(GROUP, name)}={show(inner)}: belongs to no tracker; choose one: {GROUP}=NAME")
        return {str(name): dict(inner) for name, inner in section.items()}
    module, _, kind = str(section[TARGET]).rpartition(".")
    others = [str(name) for name, inner in section.items() if isinstance(inner, Mapping) and TARGET in inner]
    if others:
        raise ConfigError(
            f"{GROUP}: to combine {kind} and {' and '.join(others)}, start the YAML file of {kind} with "
            f"# @package {GROUP}.NAME"
        )
    return {module.rpartition(".")[2] or kind: dict(section)}


def class_sections(content: Mapping[str, Any]) -> dict[str, Any]:
    """The sections of a config that describe objects, by dotted key: of each group and each tracker. Their content is
    not checked."""
    found = {group: content[group] for group in GROUPS if group in content}
    section = found.get(GROUP)
    if isinstance(section, Mapping) and TARGET not in section:
        del found[GROUP]
        found |= {join(GROUP, name): inner for name, inner in section.items()}
    return found


def in_full(words: Sequence[str]) -> list[str]:
    """The words of a command line, with `tracker.KEY` expanded to `tracker.NAME.KEY` if one of nasrun's trackers is
    selected."""
    chosen = [found[1] for word in words if (found := _CHOICE.fullmatch(word))]
    if not chosen or chosen[-1] not in _own() or any(f"@{GROUP}." in word for word in words):
        return list(words)
    matches = [(word, _KEY.fullmatch(word)) for word in words]
    return [f"{found[1]}{qualified(found[2], chosen[-1:])}{found[3]}" if found else word for word, found in matches]


def qualified(key: str, names: Collection[str]) -> str:
    """`tracker.KEY` expanded to `tracker.NAME.KEY` if there is a single tracker; any other key unchanged."""
    group, _, rest = key.partition(".")
    if group != GROUP or not rest or len(names) != 1 or rest.partition(".")[0] in names:
        return key
    return ".".join((GROUP, *names, rest))


@cache
def _own() -> frozenset[str]:
    return frozenset(path.stem for path in (conf_dir() / GROUP).glob("*.yaml"))

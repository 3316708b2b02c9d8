"""The section `tracker` of a config: none, one or several trackers, each with its keys below its name.

A tracker's YAML file puts its keys there by its first line, `# @package tracker.NAME`, so that Hydra composes several
(`tracker=[csv,mlflow]`). A file without that line, as one of the user's own may be, makes a section that is the tracker
itself; so do the stored configs of versions that had one tracker at a time.
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
"""A word that sets a key below the section to a single value."""


def sections_by_name(section: Any) -> dict[str, dict[str, Any]]:
    """The sections of all trackers by name; ConfigError where they are none, or one is where the names should be."""
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
            f"{GROUP}: {kind} and {' and '.join(others)} at once need names; begin the YAML file of {kind} with "
            f"# @package {GROUP}.NAME"
        )
    return {module.rpartition(".")[2] or kind: dict(section)}


def class_sections(content: Mapping[str, Any]) -> dict[str, Any]:
    """The sections of a config that describe an object of a class, by dotted key: that of each group, and of each
    tracker. Whether they do is not looked into."""
    found = {group: content[group] for group in GROUPS if group in content}
    section = found.get(GROUP)
    if isinstance(section, Mapping) and TARGET not in section:
        del found[GROUP]
        found |= {join(GROUP, name): inner for name, inner in section.items()}
    return found


def in_full(words: Sequence[str]) -> list[str]:
    """The words of a command line, `tracker.KEY` as `tracker.NAME.KEY` where one of nasrun's trackers is chosen."""
    chosen = [found[1] for word in words if (found := _CHOICE.fullmatch(word))]
    if not chosen or chosen[-1] not in _own() or any(f"@{GROUP}." in word for word in words):
        return list(words)
    matches = [(word, _KEY.fullmatch(word)) for word in words]
    return [f"{found[1]}{qualified(found[2], chosen[-1:])}{found[3]}" if found else word for word, found in matches]


def qualified(key: str, names: Collection[str]) -> str:
    """`tracker.KEY` as `tracker.NAME.KEY` where there is one tracker; any other key as it is."""
    group, _, rest = key.partition(".")
    if group != GROUP or not rest or len(names) != 1 or rest.partition(".")[0] in names:
        return key
    return ".".join((GROUP, *names, rest))


@cache
def _own() -> frozenset[str]:
    return frozenset(path.stem for path in (conf_dir() / GROUP).glob("*.yaml"))

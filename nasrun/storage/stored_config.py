"""The config of a run directory, which may come from someone else: read as data, so that it cannot execute code.

A config from the command line may name any class and any resolver of OmegaConf, because the user typed it. A stored
config is not trusted. Importing a module executes code, so only nasrun's own classes are accepted, and those of modules
named in `NASRUN_ALLOW`.
"""

import os
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from nasrun.core.options import ConfigError, join, shell_command, show
from nasrun.core.renamed import REMOVED_OPTIONS, current_path

ALLOW = "NASRUN_ALLOW"
"""The environment variable with modules or packages, separated by commas, that a stored config may name."""

MOST_BYTES = 2**20
"""Maximum bytes of a config; those of nasrun's own experiments have less than 5,000."""

MOST_LEVELS = 50

WRITTEN = (".hydra", "best", "checkpoints", "code", "export", "plots", "shared")
"""Folders of a run directory in which nasrun writes or deletes."""

MARK = "_given_"
"""Key of a section whose object exists only in the program that started the run."""

STEER = "steer"
"""The key whose absence identifies a config from before steering existed, because stored configs have all keys."""

BOUNDS_THEN = {
    "nasrun.spaces.sequential_cnn.space.SequentialCNN": 20_000_000,
    "nasrun.spaces.macro_cnn.space.MacroCNN": 20_000_000,
}
"""The former meaning of `constraints.flops=auto`, by class of the search space; no limit for others."""

_SERVER = re.compile(r"(?<![\w+.-])(?!sqlite:|file:)[\w+.-]+://", re.IGNORECASE)
"""The start of an address that is not a file."""

_PLAIN = re.compile(r"\$\{(?:oc\.select:[\w.]+,[\w.]*|[\w.]+)\}")
"""Interpolations that refer only to the config."""


FAST: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The C parser if available: with a thousand configs, the Python parser would take most of the time."""


class _Loader(FAST):  # type: ignore[misc]
    """Reads YAML exactly as OmegaConf does: 1e-3 is a number, a date is text, duplicate keys are errors."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> Any:
        keys = [key.value for key, _ in node.value if key.tag == yaml.resolver.BaseResolver.DEFAULT_SCALAR_TAG]
        if len(set(keys)) < len(keys):
            raise yaml.constructor.ConstructorError(None, None, "found a key twice", node.start_mark)
        return super().construct_mapping(node, deep=deep)


_Loader.yaml_implicit_resolvers = {
    letter: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for letter, resolvers in FAST.yaml_implicit_resolvers.items()
}
_EXPONENT = r"[-+]?[0-9]+(?:_[0-9]+)*\.[0-9_]*(?:[eE][-+]?[0-9]+)?$|[-+]?[0-9]+(?:_[0-9]+)*(?:[eE][-+]?[0-9]+)$"
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(_EXPONENT), list("-+0123456789."))


def read_stored(path: Path) -> DictConfig:
    """A config file, unresolved; ConfigError if it is malformed, or designed to exhaust memory."""
    try:
        if not path.is_file():  # a pipe would block for ever
            raise ValueError("no such file")
        if path.stat().st_size > MOST_BYTES:
            raise ValueError(f"it has {path.stat().st_size:,} bytes, and a config at most {MOST_BYTES:,}")
        text = path.read_text(encoding="utf-8")
        # A few lines of nested references can expand to more than the memory holds.
        depth = 0
        for event in yaml.parse(text, FAST):
            if isinstance(event, yaml.AliasEvent):
                raise ValueError("it has references (*), which nasrun does not write")
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > MOST_LEVELS:  # the time to read it grows with the square of the depth
                raise ValueError(f"it is nested more than {MOST_LEVELS} levels deep")
        content = _without_removed(_with_current_paths(_content(text)))
        config = OmegaConf.create(_with_limits_as_then(content) if isinstance(content, dict) else content)
    except (OSError, ValueError, OmegaConfBaseException, yaml.YAMLError) as error:
        first = str(error).split("\n")[0].strip() or type(error).__name__
        raise ConfigError(f"{path}: cannot be read ({first})") from error
    if not isinstance(config, DictConfig):
        raise ConfigError(f"{path}: cannot be read (it is not a mapping)")
    return config


def _content(text: str) -> Any:
    """The content of a YAML text, as OmegaConf reads it."""
    try:
        content = yaml.load(text, _Loader)
    except yaml.constructor.ConstructorError:  # it has better error messages
        return OmegaConf.to_container(OmegaConf.create(text), resolve=False)
    return {} if content is None else {content: None} if isinstance(content, str) else content


def _with_current_paths(content: Any) -> Any:
    """The content with class paths of earlier versions updated."""
    if isinstance(content, list):
        return [_with_current_paths(value) for value in content]
    if not isinstance(content, dict):
        return content
    return {
        key: current_path(value) if key == "_target_" and isinstance(value, str) else _with_current_paths(value)
        for key, value in content.items()
    }


def _without_removed(content: Any) -> Any:
    """The content without options of earlier versions that no longer exist."""
    if not isinstance(content, dict):
        return content
    return {
        section: {key: value for key, value in keys.items() if key not in REMOVED_OPTIONS.get(section, ())}
        if isinstance(keys, dict)
        else keys
        for section, keys in content.items()
    }


def _with_limits_as_then(content: dict[str, Any]) -> dict[str, Any]:
    """The content with limits of versions without steering in the current form. Then, limits only rejected
    architectures, and the default limit of a space applied in addition to the user's, for any image size."""
    limits, space = content.get("constraints"), content.get("search_space")
    if not isinstance(limits, dict) or not limits or STEER in limits or not isinstance(space, dict):
        return content
    limits = {**limits, STEER: False}
    if limits.get("flops") == "auto":
        limits["flops"] = BOUNDS_THEN.get(str(space.get("_target_")))
    return {**content, "constraints": limits}


def check_stored(config: DictConfig, path: Path) -> None:
    """ConfigError if a value refers to something outside of the config, such as an environment variable."""
    for key, value in _values(OmegaConf.to_container(config, resolve=False)):
        if isinstance(value, str) and refers_outside(value):
            raise ConfigError(
                f"{path}: {key}={show(value)}: refers to something outside of the config; replace it by its value"
            )


def refers_outside(text: str) -> bool:
    """Whether a value refers to anything but other keys of the config."""
    return "${" in _PLAIN.sub("", text)


def check_targets(config: DictConfig, path: Path, chosen: Collection[str] = ()) -> None:
    """ConfigError if a config names a class that is neither nasrun's own, nor one of `chosen`, nor in a module named by
    `NASRUN_ALLOW`. Nothing is imported for the check."""
    allowed = [name.strip() for name in os.environ.get(ALLOW, "").split(",") if name.strip()]
    content = dict(_values(OmegaConf.to_container(config, resolve=True)))
    refused: dict[str, tuple[str, Any]] = {}
    for key, value in content.items():
        if key.rpartition(".")[2] != "_target_" or value in chosen:
            continue
        group = key.rpartition(".")[0]
        if content.get(join(group, MARK)):
            held: Any = OmegaConf.to_container(config, resolve=True)
            raise ConfigError(passed_in(held, group, path.parents[1], chosen))
        module = str(value).rpartition(".")[0]
        if not any(f"{module}.".startswith(f"{name}.") for name in ("nasrun", *allowed)):
            refused.setdefault(module, (key, value))
    if refused:
        key, value = next(iter(refused.values()))
        modules = ",".join(show(name) or "MODULE" for name in dict.fromkeys([*allowed, *refused]))
        raise ConfigError(
            f"{path}: {key}={show(value)}: is not of nasrun, and importing it can run any code; if you trust it: "
            f"{ALLOW}={modules} nasrun ..."
        )


def passed_in(
    config: Mapping[str, Any], group: str, directory: Path | None = None, chosen: Collection[str] = ()
) -> str:
    """The message where a run needs an object that only the program has that started it.

    Args:
        config: The config of the run.
        group: A group whose object is missing.
        directory: The run directory, where it is known.
        chosen: The paths of classes and functions that were given instead.
    """
    where = "DIRECTORY" if directory is None else repr(str(directory))
    needed = ", ".join([where, *(f"{name}=..." for name in only_in_program(config))])
    instead = f", not {' or '.join(chosen)}" if chosen else ""
    return (
        f"{group}: was {config[group]['_target_']} in the program that started the run{instead}; continue from that "
        f"program: nasrun.resume({needed}), or open it there: nasrun.load_run({needed})"
    )


def only_in_program(config: Mapping[str, Any]) -> list[str]:
    """The groups of a config whose objects exist only in the program that started the run."""
    return [group for group, section in config.items() if isinstance(section, Mapping) and section.get(MARK)]


def check_servers(config: DictConfig, directory: Path, chosen: Collection[str] = ()) -> None:
    """ConfigError if trackers in a stored config would send the history to a server that is not one of `chosen`,
    because the address is not trusted."""
    for key, value in _values(OmegaConf.to_container(config, resolve=True)):
        if _is_server(key, value) and value not in chosen:
            raise ConfigError(
                f"{key}={show(value)}: was chosen by the run directory, not by you; to report to it: "
                f"{shell_command('resume', directory, f'{key}={value}')}, to no one: "
                f"{shell_command('resume', directory, 'tracker=csv')}"
            )


def servers(config: Mapping[str, Any] | DictConfig) -> list[str]:
    """The addresses of servers in the trackers of a config."""
    content = OmegaConf.to_container(config, resolve=True) if isinstance(config, DictConfig) else config
    return [str(value) for key, value in _values(content) if _is_server(key, value)]


def _is_server(key: str, value: Any) -> bool:
    return key.startswith("tracker.") and isinstance(value, str) and names_server(value)


def names_server(text: str) -> bool:
    """Whether a text contains an address other than of a file."""
    return _SERVER.search(text) is not None


def targets(config: Mapping[str, Any] | DictConfig) -> list[str]:
    """The classes named by a composed config."""
    content = OmegaConf.to_container(config, resolve=True) if isinstance(config, DictConfig) else config
    return [str(value) for key, value in _values(content) if key.rpartition(".")[2] == "_target_"]


def _values(content: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """All single values of nested sections and lists, with their dotted keys."""
    if isinstance(content, Mapping):
        for name, value in content.items():
            yield from _values(value, join(path, name))
    elif isinstance(content, list):
        for number, value in enumerate(content):
            yield from _values(value, join(path, number))
    else:
        yield path, content


def refuse_links(directory: Path) -> None:
    """ConfigError if a run directory contains a link, because nasrun would write or delete elsewhere."""
    for folder in (directory, *(directory / name for name in WRITTEN)):
        if not folder.is_dir():
            continue
        for path in sorted(folder.iterdir()):
            if path.is_symlink():
                raise ConfigError(
                    f"{path}: is a link, which is not allowed in a run directory; replace it by its target"
                )

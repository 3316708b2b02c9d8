"""The config of a run directory, which may have been made by anyone: read as data, so that it can run nothing.

A config that is composed on the command line may name any class, and any resolver of OmegaConf: whoever types it has
chosen them. One that lies in a directory was written by whoever made the directory. Importing a module runs code, so
that only nasrun's own classes are taken from it, and those of modules that `NASRUN_ALLOW` names.
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
"""The environment variable with the modules or packages, separated by commas, that a stored config may name."""

MOST_BYTES = 2**20
"""Bytes of a config; those of nasrun's own experiments have less than 5,000."""

MOST_LEVELS = 50

WRITTEN = (".hydra", "best", "checkpoints", "code", "export", "plots", "shared")
"""Folders of a run directory into which nasrun writes, or in which it deletes."""

STEER = "steer"
"""The key of the limits by which a config of before there was steering is known: stored configs hold all keys."""

BOUNDS_THEN = {
    "nasrun.spaces.sequential_cnn.space.SequentialCNN": 20_000_000,
    "nasrun.spaces.macro_cnn.space.MacroCNN": 20_000_000,
}
"""What `constraints.flops=auto` meant then, by the class of the search space; for any other nothing."""

_SERVER = re.compile(r"(?<![\w+.-])(?!sqlite:|file:)[\w+.-]+://", re.IGNORECASE)
"""The beginning of an address that is none of a file."""

_PLAIN = re.compile(r"\$\{(?:oc\.select:[\w.]+,[\w.]*|[\w.]+)\}")
"""Interpolations that stay within the config."""


FAST: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""A folder of a thousand runs has a thousand configs, and the parser in Python takes most of the time for them."""


class _Loader(FAST):  # type: ignore[misc]
    """Reads what OmegaConf reads, and as that does: 1e-3 is a number, a date is a text, no key is there twice."""

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
    """A config file as it is; ConfigError if it is none, or is made to take up memory."""
    try:
        if not path.is_file():  # a pipe would be waited on for ever
            raise ValueError("no such file")
        if path.stat().st_size > MOST_BYTES:
            raise ValueError(f"it has {path.stat().st_size:,} bytes, and a config at most {MOST_BYTES:,}")
        text = path.read_text(encoding="utf-8")
        # A few lines of references to references stand for a text that no memory holds.
        depth = 0
        for event in yaml.parse(text, FAST):
            if isinstance(event, yaml.AliasEvent):
                raise ValueError("it holds references (*), which nasrun does not write")
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > MOST_LEVELS:  # to read it would take time that grows with the square of the depth
                raise ValueError(f"it is nested more than {MOST_LEVELS} levels deep")
        content = _without_removed(_with_current_paths(_content(text)))
        config = OmegaConf.create(_with_limits_as_then(content) if isinstance(content, dict) else content)
    except (OSError, ValueError, OmegaConfBaseException, yaml.YAMLError) as error:
        first = str(error).split("\n")[0].strip() or type(error).__name__
        raise ConfigError(f"{path}: cannot be read ({first})") from error
    if not isinstance(config, DictConfig):
        raise ConfigError(f"{path}: cannot be read (it holds no keys with values)")
    return config


def _content(text: str) -> Any:
    """What a YAML text holds, as OmegaConf reads it."""
    try:
        content = yaml.load(text, _Loader)
    except yaml.constructor.ConstructorError:  # it knows more, and says better what is wrong
        return OmegaConf.to_container(OmegaConf.create(text), resolve=False)
    return {} if content is None else {content: None} if isinstance(content, str) else content


def _with_current_paths(content: Any) -> Any:
    """The content with the classes that earlier versions named at their path of today."""
    if isinstance(content, list):
        return [_with_current_paths(value) for value in content]
    if not isinstance(content, dict):
        return content
    return {
        key: current_path(value) if key == "_target_" and isinstance(value, str) else _with_current_paths(value)
        for key, value in content.items()
    }


def _without_removed(content: Any) -> Any:
    """The content without the options of earlier versions that are no more."""
    if not isinstance(content, dict):
        return content
    return {
        section: {key: value for key, value in keys.items() if key not in REMOVED_OPTIONS.get(section, ())}
        if isinstance(keys, dict)
        else keys
        for section, keys in content.items()
    }


def _with_limits_as_then(content: dict[str, Any]) -> dict[str, Any]:
    """The content with the limits of a version that had no steering, in words of today: limits only turned
    architectures down, and the bound of a space stood beside limits of the user's, whatever the size of the images."""
    limits, space = content.get("constraints"), content.get("search_space")
    if not isinstance(limits, dict) or not limits or STEER in limits or not isinstance(space, dict):
        return content
    limits = {**limits, STEER: False}
    if limits.get("flops") == "auto":
        limits["flops"] = BOUNDS_THEN.get(str(space.get("_target_")))
    return {**content, "constraints": limits}


def check_stored(config: DictConfig, path: Path) -> None:
    """ConfigError if a value asks for what is not in the config, such as a variable of the environment."""
    for key, value in _values(OmegaConf.to_container(config, resolve=False)):
        if isinstance(value, str) and refers_outside(value):
            raise ConfigError(
                f"{path}: {key}={show(value)}: refers to something outside of the config; write the value in its place"
            )


def refers_outside(text: str) -> bool:
    """Whether a value refers to anything but other keys of the config."""
    return "${" in _PLAIN.sub("", text)


def check_targets(config: DictConfig, path: Path, chosen: Collection[str] = ()) -> None:
    """ConfigError if a config names a class that is neither nasrun's own, nor one of `chosen`, nor of a module that
    `NASRUN_ALLOW` names. Nothing is imported to find out."""
    allowed = [name.strip() for name in os.environ.get(ALLOW, "").split(",") if name.strip()]
    for key, value in _values(OmegaConf.to_container(config, resolve=True)):
        if key.rpartition(".")[2] != "_target_" or value in chosen:
            continue
        module = str(value).rpartition(".")[0]
        if not any(f"{module}.".startswith(f"{name}.") for name in ("nasrun", *allowed)):
            raise ConfigError(
                f"{path}: {key}={show(value)}: is not of nasrun, and to import it can run any code; if you trust it: "
                f"{ALLOW}={show(module) or 'MODULE'} nasrun ..."
            )


def check_servers(config: DictConfig, directory: Path, chosen: Collection[str] = ()) -> None:
    """ConfigError if the trackers of a run directory's config would send its history to a server that is not one of
    `chosen`: whoever made the directory wrote its address."""
    for key, value in _values(OmegaConf.to_container(config, resolve=True)):
        if _is_server(key, value) and value not in chosen:
            raise ConfigError(
                f"{key}={show(value)}: is chosen by the run directory, and not by you; to report to it: "
                f"{shell_command('resume', directory, f'{key}={value}')}, to no one: "
                f"{shell_command('resume', directory, 'tracker=csv')}"
            )


def servers(config: Mapping[str, Any] | DictConfig) -> list[str]:
    """The addresses of servers that the trackers of a config name."""
    content = OmegaConf.to_container(config, resolve=True) if isinstance(config, DictConfig) else config
    return [str(value) for key, value in _values(content) if _is_server(key, value)]


def _is_server(key: str, value: Any) -> bool:
    return key.startswith("tracker.") and isinstance(value, str) and names_server(value)


def names_server(text: str) -> bool:
    """Whether a text holds an address of something else than a file."""
    return _SERVER.search(text) is not None


def targets(config: Mapping[str, Any] | DictConfig) -> list[str]:
    """The classes that a composed config names."""
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
    """ConfigError if a run directory leads elsewhere: what nasrun writes or deletes in it would be there."""
    for folder in (directory, *(directory / name for name in WRITTEN)):
        if not folder.is_dir():
            continue
        for path in sorted(folder.iterdir()):
            if path.is_symlink():
                raise ConfigError(
                    f"{path}: is a link, and a run directory holds none; put what it leads to in its place"
                )

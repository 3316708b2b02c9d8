"""Command-line parsing: the flags of runs and sweeps, and a parser for the verbs."""

from argparse import Action, ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from nasrun.core.options import ConfigError, nearest


class Once(Action):
    """A flag that may be given only once."""

    def __call__(self, parser: ArgumentParser, flags: Namespace, value: Any, _: str | None = None) -> None:
        flag = self.option_strings[0]
        if getattr(flags, self.dest) is not None:
            hint = f"; to add a second folder: 'hydra.searchpath=[{value}]'" if flag == "--config-dir" else ""
            raise ConfigError(f"{flag}={value}: {flag} was already given{hint}")
        setattr(flags, self.dest, value)


_SWITCH = {"action": "store_true"}
_INFO = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")
_FLAGS: dict[str, tuple[str, dict[str, Any]]] = {
    "--multirun": ("-m", _SWITCH),
    "--run": ("-r", _SWITCH),
    "--config-dir": ("-cd", {"action": Once}),
    "--config-name": ("-cn", {"action": Once}),
    "--config-path": ("-cp", {}),
    "--cfg": ("-c", {"choices": ("job", "hydra", "all")}),
    "--resolve": ("", _SWITCH),
    "--package": ("-p", {}),
    "--info": ("-i", {"nargs": "?", "const": "all", "choices": _INFO}),
    "--hydra-help": ("", _SWITCH),
    "--shell-completion": ("-sc", _SWITCH),
}
"""Hydra's flags with their short forms, except those that would run unchecked configs."""


class Arguments(ArgumentParser):
    """A parser that raises ConfigError (one line, exit code 2). Flags cannot be abbreviated."""

    def __init__(self, verb: str, usage: str, description: str | None) -> None:
        super().__init__(f"nasrun {verb}", usage=usage, description=description, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}; usage: {self.usage}")


def directory_among(words: Sequence[str], verb: str, usage: str) -> tuple[Path, list[str]]:
    """The first word that is a folder, even with `=` in its path, and the other words; ConfigError if there is none."""
    for position, word in enumerate(words):
        if Path(word).is_dir():
            return Path(word), [*words[:position], *words[position + 1 :]]
    named = [word for word in words if "=" not in word]
    if named:
        raise ConfigError(f"{named[0]}: no such directory; usage: {usage}")
    raise ConfigError(f"{verb}: expected a run directory; usage: {usage}")


@dataclass(frozen=True)
class Command:
    """The command line of a run or sweep: `key=value` words and flags, in any order."""

    words: tuple[str, ...]
    multirun: bool = False
    config_dir: str | None = None
    config_name: str | None = None
    show: tuple[str, ...] = ()
    """The flags that make Hydra print something without a run, with the flags that modify them."""

    @property
    def file_flags(self) -> list[str]:
        """The flags that give the location of YAML files."""
        flags = {"--config-dir": self.config_dir, "--config-name": self.config_name}
        return [f"{flag}={value}" for flag, value in flags.items() if value is not None]


def read_command(words: Sequence[str]) -> Command:
    """Parse the words and flags of a run or sweep; ConfigError for unknown flags or an invalid combination."""
    parser = _HydraFlags(add_help=False, allow_abbrev=False)
    parser.add_argument("words", nargs="*")
    for name, (short, settings) in _FLAGS.items():
        parser.add_argument(name, *([short] if short else []), **settings)
    flags, unknown = parser.parse_known_intermixed_args(list(words))
    if unknown:
        raise ConfigError(f"{unknown[0]}: no such flag; {nearest(unknown[0], [*_FLAGS, '--help', '--version'])}")
    if flags.config_path:
        path = flags.config_path
        raise ConfigError(
            f"--config-path={path}: would hide all of nasrun's YAML files; add yours: --config-dir={path}"
        )
    modes = {"--cfg": flags.cfg, "--info": flags.info, "--multirun": flags.multirun, "--run": flags.run}
    given = [flag for flag, value in modes.items() if value]
    if len(given) > 1:
        raise ConfigError(f"{' '.join(given)}: only one of these at a time")
    for name, value in {"--resolve": flags.resolve, "--package": flags.package}.items():
        if value and not flags.cfg:
            raise ConfigError(f"{name}: is only for --cfg")
    return Command(tuple(flags.words), flags.multirun, flags.config_dir, flags.config_name, _shown(flags))


def _shown(flags: Namespace) -> tuple[str, ...]:
    if flags.cfg:
        package = [f"--package={flags.package}"] if flags.package else []
        return (f"--cfg={flags.cfg}", *package, *(["--resolve"] if flags.resolve else []))
    if flags.info:
        return ("--info", flags.info)
    if flags.hydra_help:
        return ("--hydra-help",)
    return ("--shell-completion",) if flags.shell_completion else ()


class _HydraFlags(ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}; see nasrun --help")

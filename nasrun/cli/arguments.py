"""The words of a command line: the flags of runs and sweeps, and how the verbs read theirs."""

from argparse import Action, ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from nasrun.core.options import ConfigError, nearest


class Once(Action):
    """A flag whose second value would take the place of the first in silence."""

    def __call__(self, parser: ArgumentParser, flags: Namespace, value: Any, _: str | None = None) -> None:
        flag = self.option_strings[0]
        if getattr(flags, self.dest) is not None:
            hint = f"; a second folder: 'hydra.searchpath=[{value}]'" if flag == "--config-dir" else ""
            raise ConfigError(f"{flag}={value}: {flag} was given before{hint}")
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
"""Hydra's flags with their short forms, but for those that would run something that nasrun has not checked."""


class Arguments(ArgumentParser):
    """A parser whose complaints are ConfigErrors: one line, exit code 2. Flags are written out in full."""

    def __init__(self, verb: str, usage: str, description: str | None) -> None:
        super().__init__(f"nasrun {verb}", usage=usage, description=description, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}; usage: {self.usage}")


def directory_among(words: Sequence[str], verb: str, usage: str) -> tuple[Path, list[str]]:
    """The first word that is a folder, `=` in its path or not, and the other words; ConfigError if none is."""
    for position, word in enumerate(words):
        if Path(word).is_dir():
            return Path(word), [*words[:position], *words[position + 1 :]]
    named = [word for word in words if "=" not in word]
    if named:
        raise ConfigError(f"{named[0]}: no such directory; usage: {usage}")
    raise ConfigError(f"{verb}: expected a run directory; usage: {usage}")


@dataclass(frozen=True)
class Command:
    """A run or a sweep as it was typed: the words `key=value`, and the flags, which may stand anywhere among them."""

    words: tuple[str, ...]
    multirun: bool = False
    config_dir: str | None = None
    config_name: str | None = None
    show: tuple[str, ...] = ()
    """The flags with which Hydra prints something and runs nothing, with what belongs to them."""

    @property
    def file_flags(self) -> list[str]:
        """The flags that say where YAML files are."""
        flags = {"--config-dir": self.config_dir, "--config-name": self.config_name}
        return [f"{flag}={value}" for flag, value in flags.items() if value is not None]


def read_command(words: Sequence[str]) -> Command:
    """The words and flags of a run or sweep; ConfigError for flags that there are not, or that do not go together."""
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
            raise ConfigError(f"{name}: goes with --cfg")
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

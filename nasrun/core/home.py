"""The home folder of the user, which there may be none of, as in many containers."""

import os
from pathlib import Path

from nasrun.core.options import ConfigError


def at_home(path: str | os.PathLike[str]) -> Path:
    """A path with the home folder in place of a `~` at its start; ConfigError where no home folder is known."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        (name, *_), text = Path(path).parts, f"{path}: no home folder is known for"
        if name == "~":
            raise ConfigError(f"{text} this user; set HOME, or write out the ~") from None
        raise ConfigError(f"{text} a user {name[1:]}; a file or folder of that name here: ./{path}") from None

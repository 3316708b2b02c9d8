"""The user's home folder, which may not exist, for example in containers."""

import os
from pathlib import Path

from nasrun.core.options import ConfigError


def at_home(path: str | os.PathLike[str]) -> Path:
    """A path with a leading `~` replaced by the home folder; ConfigError if the home folder is unknown."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        (name, *_), text = Path(path).parts, f"{path}: no home folder is known for"
        if name == "~":
            raise ConfigError(f"{text} this user; set HOME, or write the full path instead of ~") from None
        raise ConfigError(f"{text} a user {name[1:]}; for a file of that name in this folder, type ./{path}") from None

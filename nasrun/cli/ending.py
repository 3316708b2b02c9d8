"""How the command ends: its exit codes, and the one line on stderr that says why."""

import errno
import sys

from nasrun.core.options import ConfigError, printable

DONE, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130

_PATHS = {
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
    errno.EACCES: "access is denied; make it readable, or choose another",
}
"""What is wrong with a path that was typed, where it cannot even be asked whether there is something."""

_SHOWN = 60
"""Characters of a path that is too long."""


def code_of(error: Exception) -> int:
    """The exit code for an error."""
    return USAGE if isinstance(error, ConfigError) or _wrong_path(error) else FAILED


def one_line(error: Exception) -> str:
    """What an error says, in one line. The text of nasrun's own is kept as it is otherwise: it may hold a command."""
    if isinstance(error, ConfigError) or type(error).__module__.startswith("nasrun."):
        return " ".join(line.strip() for line in str(error).splitlines())
    if wrong := _wrong_path(error):
        return wrong
    return f"{type(error).__name__}: {' '.join(str(error).split())} (debug=true shows where)"


def _wrong_path(error: Exception) -> str | None:
    """What an error says of a path that was typed; None if it says nothing of the kind."""
    if not isinstance(error, OSError) or error.errno not in _PATHS or error.filename is None:
        return None
    path = " ".join(str(error.filename).split())
    return f"{path if len(path) <= _SHOWN else f'{path[:_SHOWN]}…'}: {_PATHS[error.errno]}"


def say(text: str, code: int) -> int:
    """Print a line on stderr; returns the exit code."""
    print(f"nasrun: {printable(text)}", file=sys.stderr)
    return code

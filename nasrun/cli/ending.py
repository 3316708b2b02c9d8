"""Exit codes of the command, and the one-line error message on stderr."""

import errno
import sys

from nasrun.core.options import ConfigError, printable

DONE, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130

_PATHS = {
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
    errno.EACCES: "access is denied; make it readable, or choose another",
}
"""Messages for paths whose existence cannot even be checked."""

_SHOWN = 60
"""Maximum number of characters shown of a path."""


def code_of(error: Exception) -> int:
    """The exit code for an error."""
    return USAGE if isinstance(error, ConfigError) or _wrong_path(error) else FAILED


def one_line(error: Exception) -> str:
    """The message of an error in one line. Spaces in messages of nasrun's own errors are kept, because they may contain
    commands."""
    if isinstance(error, ConfigError) or type(error).__module__.startswith("nasrun."):
        return " ".join(line.strip() for line in str(error).splitlines())
    if wrong := _wrong_path(error):
        return wrong
    from nasrun.core.answers import place_of

    place = place_of(error)
    where = "debug=true shows where" if place is None else f"in {place}; debug=true shows the calls"
    return f"{type(error).__name__}: {' '.join(str(error).split())} ({where})"


def _wrong_path(error: Exception) -> str | None:
    """The message for an error about a path; None for other errors."""
    if not isinstance(error, OSError) or error.errno not in _PATHS or error.filename is None:
        return None
    path = " ".join(str(error.filename).split())
    return f"{path if len(path) <= _SHOWN else f'{path[:_SHOWN]}…'}: {_PATHS[error.errno]}"


def say(text: str, code: int) -> int:
    """Print a line on stderr and return the exit code."""
    print(f"nasrun: {printable(text)}", file=sys.stderr)
    return code

"""How the command ends: its exit codes, and the one line on stderr that says why."""

import sys

from nasrun.core.options import ConfigError, printable

DONE, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130


def code_of(error: Exception) -> int:
    """The exit code for an error."""
    return USAGE if isinstance(error, ConfigError) else FAILED


def one_line(error: Exception) -> str:
    """What an error says, in one line. The text of nasrun's own is kept as it is otherwise: it may hold a command."""
    if isinstance(error, ConfigError) or type(error).__module__.startswith("nasrun."):
        return " ".join(line.strip() for line in str(error).splitlines())
    return f"{type(error).__name__}: {' '.join(str(error).split())} (debug=true shows where)"


def say(text: str, code: int) -> int:
    """Print a line on stderr; returns the exit code."""
    print(f"nasrun: {printable(text)}", file=sys.stderr)
    return code

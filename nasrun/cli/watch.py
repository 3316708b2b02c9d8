"""`nasrun watch DIR...`: serves a page with the state of runs and sweeps to a browser on this machine, until Ctrl-C."""

from collections.abc import Sequence

from nasrun.cli.arguments import Arguments
from nasrun.cli.ending import DONE
from nasrun.cli.status import folders_among
from nasrun.core.options import ConfigError
from nasrun.core.output import show
from nasrun.reports.status.page import Watched
from nasrun.reports.status.server import Server
from nasrun.reports.status.state import runs_below
from nasrun.runner import interrupts

USAGE = "nasrun watch DIR... [--port N]"
MOST_PORT = 65535


def watch(words: Sequence[str]) -> int:
    """Serve the page for the named folders until a signal ends it; return the exit code."""
    parser = Arguments("watch", USAGE, __doc__)
    parser.add_argument("words", nargs="*", metavar="DIR", help="a run, or a folder with runs in it, such as a sweep")
    parser.add_argument("--port", type=int, default=0, help="port on this machine; default: any free port")
    flags = parser.parse_intermixed_args(list(words))
    if not 0 <= flags.port <= MOST_PORT:
        raise ConfigError(f"--port={flags.port}: expected a port from 1 to {MOST_PORT}, or 0 for any free one")
    folders = folders_among(flags.words, "watch", USAGE)
    runs_below(folders)
    with Server(Watched(folders), flags.port) as server:
        show(f"{server.address}  (this machine only; stop with Ctrl-C)")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            interrupts.end()
    return DONE

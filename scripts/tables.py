"""Make a table of docs/reproductions.md, in Markdown, from the run directories of a sweep.

    python scripts/tables.py NAME DIR... [OPTIONS]

NAME selects the table; `python scripts/tables.py NAME --help` describes its contents, and DIR. Means, deviations and
tests are those of `nasrun compare`.
"""

import argparse
import sys
from importlib import import_module

from nasrun.core.options import ConfigError

KINDS = ("asnn", "cells", "course", "fronts", "ienas", "miha", "regrets", "samples", "slides", "speed")
"""The tables; each is a module of `table_kinds`: `add_arguments` adds its arguments, `make` prints it."""


def main() -> None:
    """Print a table; a problem with the folders ends the program with one line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = parser.add_subparsers(required=True, metavar="NAME", title="tables")
    for kind in KINDS:
        module = import_module(f"table_kinds.{kind}")
        about = module.__doc__ or ""
        first = about.partition("\n")[0]
        raw = argparse.RawDescriptionHelpFormatter
        one = names.add_parser(kind, help=first, description=about, formatter_class=raw)
        module.add_arguments(one)
        one.set_defaults(make=module.make)
    arguments = parser.parse_args()
    try:
        arguments.make(arguments)
    except ConfigError as error:
        print(error, file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()

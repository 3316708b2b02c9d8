"""Where the YAML files are. Imports nothing, so that the help text can be printed at once."""

from pathlib import Path

GROUPS = ("search_space", "strategy", "evaluator", "recipe", "dataset", "hardware", "tracker")
"""The groups of options that make up a run; `experiment` only overrides."""

REPRODUCTIONS = "reproduction"
"""The folder of what `nasrun reproduce` runs, which is no group of options."""


def conf_dir() -> Path:
    """The folder of the YAML files: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).parent.parent
    packaged = package / "conf"
    return packaged if packaged.is_dir() else package.parent / "conf"

"""Location of the YAML files. Imports no heavy module, so that the help text is printed at once."""

from pathlib import Path

GROUPS = ("search_space", "strategy", "evaluator", "recipe", "dataset", "hardware", "tracker")
"""The config groups that make up a run; `experiment` only overrides them."""

REPRODUCTIONS = "reproduction"
"""The folder of the plans for `nasrun reproduce`; it is not a config group."""


def conf_dir() -> Path:
    """The folder of the YAML files: inside the installed package, or next to it in a checkout."""
    package = Path(__file__).parent.parent
    packaged = package / "conf"
    return packaged if packaged.is_dir() else package.parent / "conf"

"""The contents of a run's data: `data.json`, which the run writes when it has read them, and the report's section."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nasrun.core.options import ConfigError
from nasrun.datasets.overview import Overview, as_json, from_json
from nasrun.storage.records import write_json

NAME = "data.json"


def write_overview(overview: Overview, directory: Path) -> None:
    """Write `data.json` into a run directory; OSError passes through."""
    write_json(directory / NAME, as_json(overview))


def read_overview(directory: Path) -> Overview | None:
    """The contents of `data.json` in a run directory; None if there is none, ConfigError if it is damaged."""
    path = directory / NAME
    if not path.is_file():
        return None
    try:
        return from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(
            f"{path}: damaged ({type(error).__name__}: {reason}); delete it to continue without"
        ) from None


def result_warnings(overview: Overview | None, summary: Mapping[str, Any]) -> list[str]:
    """Reasons why the winner's test result is worth less than it looks, a line each.

    `summary`: the contents of `summary.json`.
    """
    accuracy = summary["final"].get("test_accuracy")
    if overview is None or not overview.classes or accuracy is None:
        return []
    share = overview.largest_test_share
    if accuracy > share:
        return []
    return [
        f"test_accuracy {accuracy:.4f} is no better than answering {overview.largest_test_class} for every image, "
        f"which gives {share:.4f}: more epochs or trials may help"
    ]


def data_section(directory: Path, summary: Mapping[str, Any]) -> dict[str, Any] | None:
    """The report's section on the data: `facts` and `warnings`, a line each, and a `table` of images by class and part,
    with a header row. None if the run keeps no record of them."""
    overview = read_overview(directory)
    if overview is None:
        return None
    counts = zip(*overview.images.values(), strict=True)
    rows = [[name, *row] for name, row in zip(overview.classes, counts, strict=False)]
    return {
        "facts": overview.facts(),
        "warnings": [*overview.warnings(), *result_warnings(overview, summary)],
        "table": [["class", *overview.images], *rows] if rows else None,
    }

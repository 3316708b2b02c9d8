"""The common part of the consoles: printing that never fails, the description of a trial, and the closing block."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nasrun.core import Objective, SearchSpace
from nasrun.core.output import give_up_output
from nasrun.reports.summary import describe, number, shorten
from nasrun.reports.tables import one_line
from nasrun.storage.records import Observer, TrialRecord

_ASCII = str.maketrans({"…": "~", "·": "|", "±": "~", "━": "#", "─": "-"})


class Printer(Observer):
    """An observer that prints to stdout; if the output can no longer be written, it stops silently."""

    def __init__(self, space: SearchSpace, objective: Objective) -> None:
        self._space, self._objective = space, objective
        self._trials = 0
        self._directory = Path()
        self._lost = False
        # Read now: during a live view, sys.stdout is rich's replacement, which has no encoding.
        self._encoding = getattr(sys.stdout, "encoding", None) or "utf-8"

    def on_start(self, trials: int, records: Mapping[int, TrialRecord], directory: Path) -> None:
        self._trials, self._directory = trials, directory

    def message(self, text: str) -> None:
        self._print(one_line(text))

    def on_finish(self, summary: Mapping[str, Any]) -> None:
        self.close()
        self._print("", *describe(summary, self._directory))

    def _print(self, *lines: str) -> None:
        if self._lost:
            return
        try:
            print("\n".join(self._encodable(line) for line in lines), flush=True)
        except (OSError, ValueError):
            self._lost = True
            give_up_output()

    def _encodable(self, text: str) -> str:
        """The text in characters that stdout can show; the signs used here have ASCII replacements."""
        if not self._encoding.lower().startswith("utf"):
            text = text.translate(_ASCII)
        return text.encode(self._encoding, "replace").decode(self._encoding)

    def _objective_of(self, record: TrialRecord) -> str:
        return f"{self._objective.metric} {number(record.mean(self._objective.metric))}"

    def _genome(self, record: TrialRecord, width: int) -> str:
        return shorten(self._space.format(record.trial.proposal.genome), width)

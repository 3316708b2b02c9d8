"""Repeats a run from its record alone in a new directory, and compares the results."""

import csv
import hashlib
import importlib
import itertools
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from nasrun.config.build import Setup, build
from nasrun.config.own_code import FOLDER, digest
from nasrun.config.stored_run import check_data
from nasrun.core.environment import describe_environment, differences
from nasrun.core.options import ConfigError, show
from nasrun.runner.clock import Instant
from nasrun.runner.own_code import last_record
from nasrun.runner.resume import changed_config
from nasrun.runner.run import begin
from nasrun.storage import journal
from nasrun.storage.pack import TABLES
from nasrun.storage.paths import movable
from nasrun.storage.records import CONFIG, RunRecords, read_run
from nasrun.storage.run_directory import holds_run, how_to_continue

BEST = "best.json"
WEIGHTS = Path("best") / "model.safetensors"
TIMES = ("seconds", "latency_ms")
"""Prefixes of columns that differ between any two runs."""
FREE = ("output", "tracker", "hardware.address")
"""Keys that may be set anew, besides the location of the data: they do not change results."""


@dataclass(frozen=True)
class Rerun:
    """A repeated run. `compared`: the files that both runs have. `different`: what differs, a line for each file.

    `surroundings`: the versions and hardware that differ, as name, then and now.
    """

    directory: Path
    compared: Sequence[str]
    different: Sequence[str]
    surroundings: Mapping[str, tuple[str, str]]


def rerun(directory: Path, target: Path, overrides: Mapping[str, Any], began: Instant | None = None) -> Rerun:
    """Repeat a finished run in a new directory, and compare.

    `overrides`: the location of the data, and other keys that do not change results. ConfigError if the run is not
    finished, its data or its code are missing, or a key would change the run.
    """
    if not holds_run(directory):
        raise ConfigError(f"{directory}: holds no run (it has no {journal.NAME})")
    run = read_run(directory)
    if run.end is None or not run.end.complete:
        raise ConfigError(f"{directory}: is not finished; {how_to_continue(directory)}")
    for key in overrides:
        allowed = (*FREE, *movable(run.header))
        if not any(key == name or key.startswith(f"{name}.") for name in allowed):
            known = ", ".join(allowed)
            raise ConfigError(f"{key}: would change the run; a repeated run may change only {known}")
    config, _ = changed_config(run, {"tracker": "csv", **overrides})
    _find_code(run)
    setup = build(config)

    def check(made: Setup) -> None:
        check_data(run, config, made.dataset)
        if "table" in run.header.facts:
            made.evaluator.prepare(run.header.facts)  # refuses another table

    begin(
        setup,
        target,
        unique=False,
        choices=run.header.choices,
        words=_words(directory),
        began=began,
        check=check,
    )
    compared = [name for name in (*TABLES, BEST, str(WEIGHTS)) if (directory / name).is_file()]
    different = [line for name in compared if (line := _difference(directory / name, target / name, name))]
    surroundings = differences(run.header.environment, describe_environment())
    return Rerun(target, compared, different, surroundings)


def _words(directory: Path) -> list[str]:
    """The recorded command line of a run."""
    path = directory / CONFIG.with_name("overrides.yaml")
    words = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else None
    return [str(word) for word in words] if isinstance(words, list) else []


def _find_code(run: RunRecords) -> None:
    """Put the own classes of a run, which the user has allowed by now, first on Python's path.

    ConfigError if they differ from the recorded ones, or the run was resumed with others.
    """
    record, directory = run.header.code, run.directory
    if record is None:
        return
    if last_record(run)[0] != record:
        raise ConfigError(
            f"{directory}: was resumed with changed code (changed_code=true), so it cannot be repeated as one run"
        )
    folder = directory / FOLDER
    for name, then in record["files"].items():
        path = folder / str(name)
        if not path.is_file() or digest(path.read_bytes()) != then:
            raise ConfigError(f"{path}: is missing or not the run's code; get the run directory again")
    place = str(folder.absolute())
    sys.path.insert(0, place)
    os.environ["PYTHONPATH"] = os.pathsep.join([place, *filter(None, [os.environ.get("PYTHONPATH")])])
    for name in record["files"]:  # left by an earlier run
        sys.modules.pop(str(name).removesuffix(".py").removesuffix("/__init__").replace("/", "."), None)
    importlib.invalidate_caches()


def _difference(then: Path, now: Path, name: str) -> str | None:
    """The first difference between two files of a kind, except times; None if there is none."""
    if not now.is_file():
        return f"{name}: is missing"
    if name.endswith(".csv"):
        return _different_cell(then, now, name)
    if name == BEST:
        old, new = (json.loads(path.read_text(encoding="utf-8")) for path in (then, now))
        keys = [key for key in {**old, **new} if old.get(key) != new.get(key)]
        return f"{name}: {keys[0]}: {show(old.get(keys[0]))} then, {show(new.get(keys[0]))} now" if keys else None
    same = hashlib.sha256(then.read_bytes()).digest() == hashlib.sha256(now.read_bytes()).digest()
    return None if same else f"{name}: differs"


def _different_cell(then: Path, now: Path, name: str) -> str | None:
    with then.open(encoding="utf-8", newline="") as one, now.open(encoding="utf-8", newline="") as two:
        rows = itertools.zip_longest(csv.DictReader(one), csv.DictReader(two))
        for number, (old, new) in enumerate(rows, start=2):
            if old is None or new is None:
                return f"{name}: has {'more' if old is None else 'fewer'} rows than before"
            for column in {**old, **new}:
                if not column.startswith(TIMES) and old.get(column) != new.get(column):
                    return f"{name}: row {number}, {column}: {show(old.get(column))} then, {show(new.get(column))} now"
    return None

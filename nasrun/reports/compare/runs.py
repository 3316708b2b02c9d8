"""The runs of a comparison: found in folders, checked to be of one benchmark, and grouped (`read` reads them)."""

import difflib
import hashlib
import itertools
import json
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from nasrun.core import Objective
from nasrun.core.options import ConfigError, show
from nasrun.datasets.record import difference
from nasrun.reports.compare.read import BENCHMARK, DATA, SAME_RESULT, ComparedRun, read_compared
from nasrun.reports.compare.refusal import advice, is_below, varied, what_differs
from nasrun.storage import journal
from nasrun.storage.run_directory import holds_run

__all__ = ["BENCHMARK", "SAME_RESULT", "ComparedRun", "Comparison", "read_compared"]

ONE = "only runs of one search space, data set, evaluator and objective can be compared"

_NO_METHOD = (
    *("seed", "output", "hardware", "tracker", "vars", "debug", "dry_run", "resume", "max_failures", "recipe"),
    "baseline",
    "changed_code",
)
"""Keys and sections that belong neither to the benchmark nor to the method. The effect of a recipe is in the keys of
the evaluator."""

FEW_SEEDS = 5


@dataclass(frozen=True)
class Comparison:
    """Runs of one benchmark in groups, by seed; `by`: the keys that distinguish the groups.

    `remarks`: lines for the reader (few seeds, runs left out). `name`: that of the benchmark if there are several.
    """

    groups: Mapping[str, Sequence[ComparedRun]]
    by: Sequence[str]
    objective: Objective
    benchmark: str
    remarks: Sequence[str] = field(default_factory=tuple)
    name: str = ""

    @property
    def runs(self) -> list[ComparedRun]:
        """All runs."""
        return [run for group in self.groups.values() for run in group]

    @property
    def seeds(self) -> list[int]:
        """The seeds that every group has, which are compared in pairs."""
        common = set.intersection(*({run.seed for run in group} for group in self.groups.values()))
        return sorted(common)


def compare_runs(folders: Sequence[Path], by: Sequence[str] = ()) -> Comparison:
    """The comparison of all runs in some folders. `by`: the keys to group by; by default `strategy`, or, if all runs
    have the same strategy, whatever else differs between them.

    ConfigError if there is no finished run, if two runs are not of the same benchmark (it names the key), or if a group
    has a seed twice.
    """
    return compare_selected(*selected(folders), by)


def selected(
    folders: Sequence[Path], where: Mapping[str, Sequence[str]] = {}, without: Sequence[Path] = ()
) -> tuple[list[ComparedRun], list[str]]:
    """The finished runs in some folders, and remarks on those that are left out.

    `where`: values that runs must have, by key, as they are typed. `without`: folders whose runs are left out.
    """
    out = [folder.resolve() for folder in without]
    found = [run for run in find_runs(folders) if not any(run.resolve().is_relative_to(folder) for folder in out)]
    if not found:
        raise ConfigError(f"without={','.join(map(str, without))}: leaves no run")
    runs, remarks = _finished(found)
    for key, values in where.items():
        check_key(runs, key, "where")
        kept = [run for run in runs if show(run.value(key)) in values]
        if not kept:
            known = ", ".join(sorted({show(run.value(key)) for run in runs}))
            raise ConfigError(f"where={key}={','.join(values)}: no run has that; there is {known}")
        runs = kept
    return runs, remarks


def compare_selected(
    runs: Sequence[ComparedRun], remarks: Sequence[str], by: Sequence[str] = (), over: Sequence[str] = ()
) -> Comparison:
    """The same as `compare_runs`, for runs that were already read. `over`: the keys that distinguish benchmarks, of
    which these runs are one."""
    for key in by:
        if key.partition(".")[0] in ("dataset", "objective", "seed"):
            raise ConfigError(f"by={key}: runs that differ in it cannot be compared; group by a key of the method")
        check_key(runs, key, "by")
    alike, doubts = _alike(runs)
    compared = [*by, *_of_recipe(runs)] if "recipe" in by else by
    check_benchmark(alike, compared, over)
    check_data(runs, over)
    runs = list(alike)
    chosen = by or differing(runs)
    groups: dict[str, list[ComparedRun]] = {}
    for run in runs:
        groups.setdefault(_label(run, chosen), []).append(run)
    found = [*remarks, *doubts]
    for name, group in groups.items():
        group.sort(key=lambda run: run.seed)
        found += _check_group(name, group, chosen)
    found += _remarks(runs, groups, chosen)
    return Comparison(groups, chosen, runs[0].objective, benchmark_hash(runs[0], compared), found)


def check_key(runs: Sequence[ComparedRun], key: str, word: str) -> None:
    """ConfigError if no run has a key that an argument of the command line names."""
    if all(key not in run.config and run.choices.get(key) is None for run in runs):
        known = {name for run in runs for name in (*run.config, *run.choices)}
        close = difflib.get_close_matches(key, sorted(known), n=1) or ["strategy", "strategy.KEY"]
        raise ConfigError(f"{word}={key}: no run has such a key; did you mean {' or '.join(close)}?")


def find_runs(folders: Sequence[Path]) -> list[Path]:
    """The run directories among and below some folders, each once, with numbers in names in numerical order.

    Links to folders are followed.
    """
    found: dict[Path, Path] = {}
    for folder in folders:
        below = [folder] if holds_run(folder) else sorted(_below_folder(folder), key=lambda path: _numbered(str(path)))
        if not below:
            raise ConfigError(f"{folder}: holds no run, nor does a folder in it (no {journal.NAME})")
        for directory in below:
            found.setdefault(directory.resolve(), directory)
    return list(found.values())


def _below_folder(folder: Path) -> list[Path]:
    """The run directories below a folder; a link back to a folder that was already visited is not followed."""
    found, seen = [], {folder.resolve()}
    for place, names, files in os.walk(folder, followlinks=True):
        if journal.NAME in files:
            found.append(Path(place))
        kept = []
        for name in names:
            inner = Path(place, name)
            if not inner.is_symlink() or inner.resolve() not in seen:
                seen |= {inner.resolve()} if inner.is_symlink() else set()
                kept.append(name)
        names[:] = kept
    return found


def _numbered(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", name)]


def _finished(directories: Sequence[Path]) -> tuple[list[ComparedRun], list[str]]:
    """The finished runs, and a remark for each that is left out."""
    runs, remarks = [], []
    for directory in directories:
        run = read_compared(directory)
        if isinstance(run, str):
            remarks.append(f"left out {directory}: {run}")
        else:
            runs.append(run)
    if not runs:
        raise ConfigError(f"no finished run: {remarks[0]}" + (f" (and {len(remarks) - 1} more)" * (len(remarks) > 1)))
    return runs, remarks


def benchmark_hash(run: ComparedRun, by: Sequence[str] = ()) -> str:
    """Twelve hex digits that are equal for runs of the same benchmark (SHA-256 of its keys and values)."""
    kept = {key: value for key, value in run.benchmark.items() if not is_below(key, by)}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:12]


def check_benchmark(runs: Sequence[ComparedRun], by: Sequence[str], over: Sequence[str] = ()) -> None:
    """ConfigError, naming the key and both values, if two runs are not of the same benchmark."""
    first = runs[0]
    for other in runs[1:]:
        one, two = first.benchmark, other.benchmark
        keys = [key for key in {**one, **two} if one.get(key) != two.get(key) and not is_below(key, (*by, DATA))]
        if keys:
            told = what_differs(first, other, keys)
            limits = [key for key in keys if key.startswith("constraints.")]
            hint = (
                f"; to compare limits: by={','.join(sorted(limits))}"
                if len(limits) == len(keys)
                else advice(runs, varied(runs, by), over)
            )
            raise ConfigError(f"{told}; {ONE}{hint}")


def check_data(runs: Sequence[ComparedRun], over: Sequence[str] = ()) -> None:
    """ConfigError, saying what differs, if two runs recorded different data."""
    recorded = sorted((run.data.images is None, place) for place, run in enumerate(runs) if run.data is not None)
    for _, place in recorded[1:]:
        one, other = runs[recorded[0][1]], runs[place]
        assert one.data is not None
        assert other.data is not None
        found = difference(one.data, other.data, f"in {one.directory}", f"in {other.directory}")
        if found is not None:
            raise ConfigError(f"not the same data: {found}; {ONE}{advice(runs, ['dataset'], over)}")


def _alike(runs: Sequence[ComparedRun]) -> tuple[Sequence[ComparedRun], list[str]]:
    """The runs, all with a record of their data or all without, and a remark if images were read without a record."""
    if all(run.data is not None for run in runs):
        return runs, []
    without = [run.directory for run in runs if run.data is None and "runtime" in run.header.facts]
    more = f" and {len(without) - 1} more" if len(without) > 1 else ""
    told = "did not record the data: only path and options show that they are those of the others"
    remarks = [f"{without[0]}{more}: {told}"] if without and len(runs) > 1 else []
    return [replace(run, data=None) for run in runs], remarks


def _of_recipe(runs: Sequence[ComparedRun]) -> set[str]:
    """The keys of the evaluator that recipes set."""
    return {f"evaluator.{key.partition('.')[2]}" for run in runs for key in run.config if key.startswith("recipe.")}


def _method(runs: Sequence[ComparedRun], by: Sequence[str] = ()) -> list[str]:
    """The keys of the method that differ between the runs, without those of `by`."""
    keys = {key: None for run in runs for key in run.config}
    own = [key for key in keys if key.partition(".")[0] not in (*BENCHMARK, *_NO_METHOD) and key not in by]
    return [key for key in own if len({json.dumps(run.config.get(key)) for run in runs}) > 1]


def differing(runs: Sequence[ComparedRun]) -> list[str]:
    """The default keys to group by."""
    if len({run.value("strategy") for run in runs}) > 1:
        return ["strategy"]
    return _method(runs) or ["strategy"]


def _label(run: ComparedRun, by: Sequence[str]) -> str:
    named = [(key, run.value(key)) for key in by if key == "strategy" or key in run.config or len(by) == 1]
    return ", ".join(
        show(value) if key in run.choices else f"{key.split('.')[-1]}={show(value)}" for key, value in named
    )


def _check_group(name: str, group: Sequence[ComparedRun], by: Sequence[str]) -> list[str]:
    """Remarks on a group whose runs differ in method; ConfigError if it has a seed twice."""
    mixed = [key for key in _method(group, by) if key != "trials"]
    apart = f"separate them: by={','.join([*by, mixed[0]])}" if mixed else ""
    for one, two in itertools.pairwise(group):
        if one.seed == two.seed:
            leave = f"leave one of them out: {shlex.quote(f'without={two.directory}')}"
            if one.config.get("trials") != two.config.get("trials"):
                leave = f"separate them: by={','.join([*by, 'trials'])}"
            told = f"both are {name} with seed={one.seed}; {apart or leave}"
            raise ConfigError(f"{one.directory} and {two.directory}: {told}")
    if mixed:
        values = ", ".join(dict.fromkeys(show(run.config.get(mixed[0])) for run in group))
        return [f"{name} holds runs of different {mixed[0]} ({values}); {apart}"]
    return []


def _remarks(runs: Sequence[ComparedRun], groups: Mapping[str, Sequence[ComparedRun]], by: Sequence[str]) -> list[str]:
    """Remarks for the reader on all runs."""
    remarks = []
    few = {name: len(group) for name, group in groups.items() if len(group) < FEW_SEEDS}
    if few:
        listed = ", ".join(f"{name} ({count})" for name, count in few.items())
        remarks.append(f"fewer than {FEW_SEEDS} seeds, so intervals and tests say little: {listed}")
    if len({frozenset(run.seed for run in group) for group in groups.values()}) > 1:
        remarks.append(
            "not all groups have the same seeds: ranks and paired tests use those that all have (test=mannwhitney "
            "is unpaired)"
        )
    trials = sorted({len(run.values) for run in runs})
    if len({run.config.get("trials") for run in runs}) > 1 and not is_below("trials", by):
        remarks.append(
            f"runs of {trials[0]} to {trials[-1]} trials: compared after {trials[0]}; test metrics are final"
        )
    places = {(run.header.environment.get("processor"), json.dumps(run.header.facts.get("runtime"))) for run in runs}
    stepwise = [name for name, group in groups.items() if any(run.segmented for run in group)]
    if stepwise and len(stepwise) < len(groups):
        listed = ", ".join(stepwise)
        remarks.append(f"trials of {listed} are steps of training runs, not whole ones: compare over epochs (epochs=N)")
    untimed = sorted({str(run.table) for run in runs if not run.timed})
    if untimed:
        remarks.append(f"no training times in table {', '.join(untimed)}: there are no curves over time")
    elif len(places) > 1 and not runs[0].simulated:
        remarks.append("the runs were not made on the same hardware: their times cannot be compared")
    files = sorted({name for run in runs for name in run.own_files})
    changed = [name for name in files if len({run.own_files.get(name) for run in runs} - {None}) > 1]
    if changed:
        remarks.append(f"the code of own classes was changed between runs: {', '.join(changed)}")
    versions = {json.dumps(run.header.environment.get("packages"), sort_keys=True) for run in runs}
    if len(versions) > 1:
        remarks.append("the runs were made with different versions of packages")
    return remarks

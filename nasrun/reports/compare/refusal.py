"""The message on runs that cannot be compared: what differs, and what to type if several benchmarks are meant."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from nasrun.core.options import show
from nasrun.reports.compare.read import DATA, ComparedRun


def what_differs(first: ComparedRun, other: ComparedRun, keys: Sequence[str]) -> str:
    """The difference of two runs in these keys of the benchmark: the chosen option, or the first key."""
    key = _option([first, other], keys[0])
    if key in keys:
        values = [_given(run.benchmark, key) for run in (first, other)]
    else:
        values = [show(run.value(key)) for run in (first, other)]
    further = len({_option([first, other], name) for name in keys} - {key})
    more = f" ({further} more {'keys differ' if further > 1 else 'key differs'})" if further else ""
    return f"{key}: {values[0]} in {first.directory} but {values[1]} in {other.directory}{more}"


def varied(runs: Sequence[ComparedRun], by: Sequence[str]) -> list[str]:
    """The parts of the benchmark that differ between the runs: option groups if the chosen options differ, else
    keys."""
    keys = {key: None for run in runs for key in run.benchmark if not is_below(key, (*by, DATA))}
    differ = [key for key in keys if len({json.dumps(run.benchmark.get(key), sort_keys=True) for run in runs}) > 1]
    return list(dict.fromkeys(_option(runs, key) for key in differ))


def advice(runs: Sequence[ComparedRun], keys: Sequence[str], over: Sequence[str] = ()) -> str:
    """What to type if runs differ in these parts of the benchmark: several benchmarks at once, one of them, or groups
    by them.

    `over`: the keys that already distinguish benchmarks.
    """
    known = {key: list(dict.fromkeys(show(run.value(key)) for run in runs)) for key in keys}
    known = {key: values for key, values in known.items() if len(values) > 1}
    for key in reversed(list(known)):  # keys that follow from the others need not be typed
        others = [name for name in known if name != key]
        if len(_kinds(runs, others)) == len(_kinds(runs, list(known))):
            del known[key]
    if not known:
        return ""
    names = {"dataset": "data sets", "search_space": "search spaces"}
    counts = []
    for key, values in known.items():
        some = ", ".join(values[:6]) + (", ..." if len(values) > 6 else "")
        counts.append(f"{len(values)} {names.get(key, f'values of {key}')} ({some})")
    one = " ".join(f"where={key}={values[0]}" for key, values in known.items())
    methods = all(key.partition(".")[0] in ("evaluator", "constraints", "search_space") for key in known)
    groups = f", or as groups: by=strategy,{','.join(known)}" if methods else ""
    all_of_them = f"all at once: over={','.join([*over, *known])}"
    return f"; there are {' and '.join(counts)}: {all_of_them}, or one of them: {one}{groups}"


def _option(runs: Sequence[ComparedRun], key: str) -> str:
    """The option group of a key if runs chose different options, else the key."""
    section = key.partition(".")[0]
    return section if len({run.choices.get(section) for run in runs} - {None}) > 1 else key


def _kinds(runs: Sequence[ComparedRun], keys: Sequence[str]) -> set[tuple[str, ...]]:
    """The different combinations of values that runs have for some keys."""
    return {tuple(show(run.value(key)) for key in keys) for run in runs}


def _given(config: Mapping[str, Any], key: str) -> str:
    return show(config[key]) if key in config else "not set"


def is_below(key: str, by: Sequence[str]) -> bool:
    return any(key == chosen or key.startswith(f"{chosen}.") for chosen in by)

"""The table of a reproduction: a row per claim, the time of the runs, and the files that hold both."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nasrun.core.options import ConfigError, shell_command
from nasrun.core.words import counted
from nasrun.reports.reproduction.measures import measured
from nasrun.reports.reproduction.plan import Claim, Printed, Reproduction, Selection
from nasrun.reports.reproduction.verdict import Verdict, judge
from nasrun.reports.summary import duration
from nasrun.reports.sweep_runs import SweepRun, sweep_runs
from nasrun.reports.tables import markdown
from nasrun.storage.records import write_json

FILE = "reproduction.json"
HEAD = ("claim", "theirs", "ours", "95 % interval", "n", "verdict")
OVERVIEW = ("paper", *HEAD, "command", "time")


def table_of(plan: Reproduction, folder: Path) -> dict[str, Any]:
    """The claims with the verdicts of the finished runs below a folder, as plain JSON."""
    runs = {step: _runs(folder / step) for step in plan.steps}
    everything = [run for found in runs.values() for run in found]
    return {
        **{"name": plan.name, "paper": plan.paper, "source": plan.source, "scale": plan.scale},
        "claims": [_claim(claim, runs) for claim in plan.claims],
        "runs": len(everything),
        "seconds": math.fsum(run.summary["wall_seconds"] for run in everything),
        "machines": sorted({machine(run.environment) for run in everything}),
    }


def _runs(folder: Path) -> list[SweepRun]:
    try:
        return sweep_runs(folder)
    except ConfigError:
        return []


def machine(environment: Mapping[str, Any]) -> str:
    """A description of the machine of a run."""
    runtime, packages = environment.get("runtime") or {}, environment["packages"]
    threads = f", {runtime['threads']} used" if runtime.get("threads") else ""
    torch = f", torch {packages['torch']}" if "torch" in packages else ""
    return f"{environment['processor']}, {environment['processors']} processors{threads}{torch}"


def _claim(claim: Claim, runs: Mapping[str, Sequence[SweepRun]]) -> dict[str, Any]:
    def values(selection: Selection) -> Mapping[int, float]:
        return measured(runs[selection.step], selection)

    verdict = judge(claim, values(claim.ours), None if claim.than is None else values(claim.than))
    return {"claim": claim.says, "theirs": _theirs(claim), "digits": claim.digits, **_as_json(verdict)}


def _as_json(verdict: Verdict) -> dict[str, Any]:
    found = verdict._asdict()
    return {"verdict": found.pop("word"), **found}


def _theirs(claim: Claim) -> str:
    if isinstance(claim.theirs, str):
        return claim.theirs
    return f"{claim.theirs.value:.{claim.digits}f}" + (f" ({_of(claim.theirs)})" if claim.theirs.n > 1 else "")


def _of(printed: Printed) -> str:
    return f"mean of {printed.n}"


def cells(claim: Mapping[str, Any]) -> tuple[str, ...]:
    """The row of a claim as text."""

    def show(value: float, sign: str = "") -> str:
        return f"{value:{sign}.{claim['digits']}f}"

    sign, ours = ("+" if claim["means"] else ""), "-"
    if claim["means"]:
        ours = " against ".join(map(show, claim["means"]))
    elif claim["mean"] is not None:
        ours = show(claim["mean"])
    interval = "-" if claim["low"] is None else f"{show(claim['low'], sign)} to {show(claim['high'], sign)}"
    p = "" if claim["p"] is None else f" (p = {claim['p']:.2g})"
    why = f": {claim['why']}" if claim["why"] else ""
    return (claim["claim"], claim["theirs"], ours, interval, str(claim["n"]), f"{claim['verdict']}{p}{why}")


def spent(table: Mapping[str, Any]) -> str:
    """The time of a table's runs, and their machines."""
    machines = "; ".join(table["machines"]) or "none yet"
    return f"{counted(table['runs'], 'run')}, {duration(table['seconds'])} in all; {machines}"


def write_table(table: Mapping[str, Any], folder: Path) -> Path:
    """Write the table below the folder of its runs; returns the file."""
    write_json(folder / FILE, table)
    return folder / FILE


def read_tables(folder: Path) -> list[dict[str, Any]]:
    """The tables in a folder, in the order of their names."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]


def overview(tables: Iterable[Mapping[str, Any]]) -> str:
    """All claims of some tables as one table in Markdown; the interval of an order is that of the difference."""
    lines = [f"| {' | '.join(OVERVIEW)} |", f"|{'---|' * len(OVERVIEW)}"]
    for table in tables:
        command = shell_command("reproduce", table["name"], *table.get("words", []))
        for claim in table["claims"]:
            row = (table["paper"], *cells(claim), f"`{command}`", duration(table["seconds"]))
            lines.append(f"| {' | '.join(map(markdown, row))} |")
    return "\n".join(lines) + "\n"

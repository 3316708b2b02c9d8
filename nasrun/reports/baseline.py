"""The comparison of a run's winner with a known network that was trained for as long."""

from collections.abc import Mapping
from typing import Any

from nasrun.core.words import counted
from nasrun.reports.tables import one_line
from nasrun.reports.tested import WinnerTest, better_by, read_tested
from nasrun.storage.records import RunRecords

FOLDER = "baseline"
KEYS = ("epochs", "winner_epochs", "seconds", "error")


def describe_baseline(run: RunRecords, tested: WinnerTest | None) -> dict[str, Any]:
    """For `summary.json`: the network, its test, and the winner's advantage. `tested`: the winner's test."""
    event = run.baseline
    assert event is not None
    result = event.result
    found: dict[str, Any] = {**event.network, **{name: result[name] for name in KEYS if name in result}}
    found |= {"is_winner": bool(result.get("same")), "final": dict(result.get("metrics") or {})}
    other = read_tested(run.directory, FOLDER) if found["final"] else None
    if tested is not None and other is not None and other.images == tested.images:
        found["winner_better_by"], interval = better_by(tested, other)
        found["interval"] = list(interval)
    return found


def baseline_in_words(baseline: Mapping[str, Any]) -> str:
    """The result of `describe_baseline`, in one line."""
    name = f"{one_line(baseline['name'])} ({baseline['parameters']:,} parameters"
    if baseline["is_winner"]:
        return f"{name}) is the winner itself"
    name += f", {counted(baseline['epochs'], 'epoch')})" if "epochs" in baseline else ")"
    if baseline.get("error"):
        return f"{name} failed: {one_line(baseline['error'])}"
    told = f"{name}: test_accuracy {baseline['final']['test_accuracy']:.4f}"
    if "interval" not in baseline:
        return told
    low, high = (100 * value for value in baseline["interval"])
    gain = 100 * baseline["winner_better_by"]
    side = "better" if gain >= 0 else "worse"
    low, high = (low, high) if gain >= 0 else (-high, -low)
    return f"{told}; the winner is {abs(gain):.2f} points {side} (95 %: {low:.2f} to {high:.2f})"

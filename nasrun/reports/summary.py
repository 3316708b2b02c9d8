"""The result of a run: `summary.json`, `best.json` (the network it found), and a description."""

import math
import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from nasrun.core import Objective, Origin, SearchSpace
from nasrun.core.choice import noise_of_share, probability_of_best
from nasrun.core.words import counted
from nasrun.reports.baseline import baseline_in_words, describe_baseline
from nasrun.reports.front import describe_front
from nasrun.reports.tables import one_line, whole
from nasrun.reports.tested import Interval, WinnerTest, read_tested, write_test_tables
from nasrun.storage.records import RunRecords, TrialRecord, outcome, write_json

SUMMARY = "summary.json"
BEST = "best.json"
BUDGET = ("budget_seconds", "clock", "spent")
"""Fields of the end of a run with a time budget."""
NEAR = 6
"""Number of deviations below the best score within which a trial may have been the better one."""
SIMULATED = "simulated_seconds"
"""The metric with the training time of a training run that was looked up, not made."""


def write_summary(run: RunRecords, space: SearchSpace, objective: Objective) -> dict[str, Any]:
    """Write `summary.json`, and `best.json` if any trial succeeded; returns the contents of `summary.json`.

    `best.json` holds no timings: it is equal for a run that was interrupted and one that was not. OSError passes
    through.
    """
    summary, tested = whole_summary(run, space, objective)
    if tested is not None:
        write_test_tables(tested, run.directory)
    write_json(run.directory / SUMMARY, summary)
    best = outcome(run, objective)
    if best is not None:
        write_json(run.directory / BEST, finite(_describe_best(run, best, space)))
    return summary


def whole_summary(
    run: RunRecords, space: SearchSpace, objective: Objective
) -> tuple[dict[str, Any], WinnerTest | None]:
    """The contents of `summary.json` for a run, finished or not; and the answers for the test images, if there are
    any."""
    summary = summarise(run, space, objective)
    tested = read_tested(run.directory) if run.final is not None else None
    if tested is not None:
        summary["test"] = finite(tested.summary())
    if run.baseline is not None:
        summary["baseline"] = finite(describe_baseline(run, tested))
    return summary, tested


def summarise(run: RunRecords, space: SearchSpace, objective: Objective) -> dict[str, Any]:
    """The result of a run, as plain JSON with finite numbers (null in place of NaN and infinities).

    Times are in seconds: `wall_seconds` while the run was running, `device_seconds` summed over all measurements,
    including failed ones and the final training; `simulated_seconds`, if an evaluator reports it, the time of training
    runs that were looked up. Improvements have signs such that positive is good.
    """
    records = list(run.trials.values())
    best = outcome(run, objective)
    status = Counter(record.status for record in records)
    ending = {} if run.final is None else run.final.result
    drawn = _distinct_samples(records, space, objective)
    average = statistics.fmean(drawn) if drawn else None
    summary: dict[str, Any] = {
        "objective": {"metric": objective.metric, "mode": objective.mode},
        "trials": len(records),
        "status": {name: status[name] for name in ("ok", "failed", "infeasible")},
        "reused": sum(map(_reuses, records)),
        "distinct_architectures": len({space.key(record.trial.proposal.genome) for record in records}),
        "best": None,
        "final": run.final_metrics,
        "sample_mean": average,
        "sample_count": len(drawn),
        "improvement_over_sample_mean": None,
        "wall_seconds": run.wall_seconds,
        "device_seconds": math.fsum(record.seconds for record in records) + (run.final.seconds if run.final else 0.0),
        "stop_reason": run.end.reason if run.end else None,
    }
    if "clock" in ending:
        summary["budget"] = {name: ending[name] for name in BUDGET}
    choice = choice_of(run, objective)
    if choice is not None:
        summary["choice"] = choice
    if objective.others:
        summary["objectives"] = [{"metric": one.metric, "mode": one.mode} for one in objective.all]
        summary["front"] = describe_front(run.trials, objective)
    simulated = [value for record in records if not _reuses(record) for value in record.values(SIMULATED)]
    if simulated:
        summary[SIMULATED] = math.fsum(simulated)
    if best is not None:
        summary["best"] = _best_in_short(best, space, objective)
        value = best.mean(objective.metric)
        if average is not None and value is not None:
            gain = value - average if objective.mode == "max" else average - value
            summary["improvement_over_sample_mean"] = gain
    result: dict[str, Any] = finite(summary)
    return result


def _best_in_short(best: TrialRecord, space: SearchSpace, objective: Objective) -> dict[str, Any]:
    """The summary of the best trial."""
    metrics = means(best)
    return {
        "trial": best.trial.number,
        "genome": space.format(best.trial.proposal.genome),
        "metrics": {name: value for name, value in metrics.items() if name not in ("parameters", "flops")},
        "deviation": best.deviation(objective.metric),
        "repeats": best.repeats,
        "parameters": metrics.get("parameters"),
        "flops": metrics.get("flops"),
        "origin": best.trial.proposal.origin,
    }


def choice_of(run: RunRecords, objective: Objective) -> dict[str, Any] | None:
    """The probability that the winner is the best of those near it; None if it is not known.

    With a time budget it is recorded. Otherwise it follows from the number of validation images, and does not include
    the variation between training runs of one network.
    """
    if run.final is not None and "choice" in run.final.result:
        return dict(run.final.result["choice"])
    images = ((run.header.data or {}).get("counts") or {}).get("validation")
    ranked = sorted(
        (record for record in run.trials.values() if record.status == "ok" and not _reuses(record)),
        key=lambda record: (-objective.score(record.measurements), record.trial.number),
    )
    chosen = run.final is not None and run.final.chosen
    if objective.metric != "val_accuracy" or not images or len(ranked) < 2 or run.final is None or chosen:
        return None
    scores = [objective.score(record.measurements) for record in ranked]
    noise = noise_of_share(scores[0], images)
    scores = [score for score in scores if scores[0] - score <= NEAR * noise]
    trials = [record.trial.number for record in ranked[: len(scores)]]
    probability = probability_of_best(scores, noise)
    return {"of": trials, "probability": probability, "noise": noise, "noise_from": "validation images"}


def means(record: TrialRecord) -> dict[str, float]:
    """Every metric of a trial as its mean over the successful repeats, by name; parameters and FLOPs as ints."""
    names = sorted({name for m in record.measurements if m.status == "ok" for name in m.metrics})
    found = {name: value for name in names if (value := record.mean(name)) is not None}
    return {name: whole(value) if name in ("parameters", "flops") else value for name, value in found.items()}


def describe(summary: Mapping[str, Any], directory: Path) -> list[str]:
    """The result of `summarise` as aligned lines; the genome of the best is not shortened."""
    best, metric = summary["best"], summary["objective"]["metric"]
    rows: list[tuple[str, str]] = []
    if best is None:
        rows.append(("best", "none: no trial succeeded"))
    else:
        value = number(best["metrics"].get(metric, best.get(metric)))
        if best["deviation"] is not None:
            value += f" ± {number(best['deviation'])} ({counted(best['repeats'], 'repeat')})"
        rows += [("best", f"trial {best['trial']} ({best['origin']})"), ("genome", best["genome"])]
        rows += [("parameters", count(best["parameters"]))] if metric != "parameters" else []
        rows.append((metric, value))
        measured = {name: value for name, value in summary["final"].items() if isinstance(value, int | float)}
        shown = [name for name in sorted(measured) if name.startswith("test_") or name.endswith("_regret")]
        rows += [(name, number(measured[name]) + _interval(summary, name)) for name in shown]
        if "test" in summary:
            rows.append(("calibration", f"expected error {number(summary['test']['calibration_error'])}"))
        if "baseline" in summary:
            rows.append(("known network", baseline_in_words(summary["baseline"])))
    if "front" in summary:
        rows.append(("front", front_in_words(summary)))
    status = ", ".join(f"{amount:,} {name}" for name, amount in summary["status"].items() if amount)
    extra = f"{summary['reused']:,} reused, {counted(summary['distinct_architectures'], 'distinct architecture')}"
    rows.append(("trials", f"{summary['trials']:,}: {status}; {extra}" if status else "0"))
    simulated = f", simulated {duration(summary[SIMULATED])}" if SIMULATED in summary else ""
    spent = f"device {duration(summary['device_seconds'])}{simulated}"
    rows += _timed(summary)
    rows.append(("time", f"{duration(summary['wall_seconds'])} ({spent})"))
    if summary["stop_reason"]:
        rows.append(("stopped", one_line(str(summary["stop_reason"]))))
    rows.append(("run", nearby(directory)))
    label = max(len(name) for name, _ in rows)
    return [f"{name:<{label}}  {value}" for name, value in rows]


def _interval(summary: Mapping[str, Any], name: str) -> str:
    """After the test accuracy: its interval on new images."""
    if name != "test_accuracy" or "test" not in summary:
        return ""
    test = summary["test"]
    return f" (95 %: {Interval(*test['interval'])}, {counted(test['images'], 'image')})"


def _timed(summary: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """For a run with a time budget: the certainty of the choice, and the time spent."""
    if "choice" in summary:
        choice = summary["choice"]
        source = f"a score varies by {number(choice['noise'])}, by the {choice['noise_from']}"
        yield "choice", f"the best of {len(choice['of'])} with probability {choice['probability']:.2f} ({source})"
    if "budget" in summary:
        budget = summary["budget"]
        clock = " of the processor" if budget["clock"] == "cpu" else ""
        whole = f"{duration(budget['spent'])} of {duration(budget['budget_seconds'])}{clock}"
        yield "budget", f"{whole}, without the report"


def front_in_words(summary: Mapping[str, Any]) -> str:
    """The number of trials that no other beats in all objectives, and their hypervolume, for a summary with a front."""
    front, volume = summary["front"], summary["front"]["hypervolume"]
    names = ", ".join(one["metric"] for one in summary["objectives"])
    told = "" if volume is None else f", hypervolume {number(volume)}"
    return f"{counted(len(front['trials']), 'trial')} by {names}{told} (front.csv)"


def number(value: float | None) -> str:
    """A metric in four digits; a dash if there is none."""
    if value is None:
        return "-"
    return f"{value:.4f}" if 0.001 <= abs(value) < 1000 or value == 0 else f"{value:.4g}"


def count(value: float | None) -> str:
    """A count with thousands separators; a dash if there is none."""
    return "-" if value is None else f"{round(value):,}"


def duration(seconds: float) -> str:
    """Seconds as text: 4.2 s, 3 min 05 s, 2 h 07 min."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def shorten(text: str, width: int) -> str:
    """The text, with its middle left out if it is longer than `width` (at least 3) characters."""
    if len(text) <= width:
        return text
    tail = (max(width, 3) - 1) // 2
    return f"{text[: max(width, 3) - 1 - tail]}…{text[-tail:]}"


def nearby(directory: Path) -> str:
    """A path, relative to the current folder if it is below it."""
    path = directory.absolute()
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def finite(content: Any) -> Any:
    """The content in a form that JSON can hold: NaN and infinities as null, tuples as lists, array scalars as
    numbers."""
    if isinstance(content, Mapping):
        return {str(name): finite(value) for name, value in content.items()}
    if isinstance(content, Sequence) and not isinstance(content, str | bytes):
        return [finite(value) for value in content]
    if hasattr(content, "tolist"):
        return finite(content.tolist())
    if isinstance(content, float):
        return float(content) if math.isfinite(content) else None
    return content if content is None or isinstance(content, bool | int | str) else str(content)


def _describe_best(run: RunRecords, best: TrialRecord, space: SearchSpace) -> dict[str, Any]:
    proposal = best.trial.proposal
    metrics = means(best)
    return {
        "trial": best.trial.number,
        "genome": space.format(proposal.genome),
        "genome_tokens": proposal.genome,
        "status": best.status,
        "metrics": metrics,
        "repeats": {name: best.values(name) for name in metrics},
        "final": run.final_metrics,
        "hparams": dict(proposal.hparams),
        "budget": proposal.budget,
        "parent": proposal.parent,
        "origin": proposal.origin,
        "reuse_of": proposal.reuse_of,
        "error": one_line(best.error) or None,
    }


def _reuses(record: TrialRecord) -> bool:
    return record.trial.proposal.reuse_of is not None


def _distinct_samples(records: Sequence[TrialRecord], space: SearchSpace, objective: Objective) -> list[float]:
    """The objective of each architecture that was drawn at random and measured, once per architecture."""
    drawn: dict[Any, float] = {}
    for record in records:
        if record.trial.proposal.origin == Origin.SAMPLE:
            value = record.mean(objective.metric)
            if value is not None:
                drawn.setdefault(space.key(record.trial.proposal.genome), value)
    return list(drawn.values())

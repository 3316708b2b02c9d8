"""The data of a run's plots, for users who want to draw their own."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from nasrun.core import Objective
from nasrun.reports.front import front_of
from nasrun.storage.records import TrialRecord

Row = Sequence[object]


def plot_data(name: str, records: Mapping[int, TrialRecord], objective: Objective) -> list[Row]:
    """The rows, with a header row, of the named plot (`nasrun.reports.plots`); for others each trial's value."""
    ordered = [records[trial] for trial in sorted(records)]
    return list(_DATA.get(name, _incumbent)(ordered, objective))


def _incumbent(records: Sequence[TrialRecord], objective: Objective) -> Iterator[Row]:
    yield ["trial", objective.metric, "best_so_far"]
    better = max if objective.mode == "max" else min
    best: float | None = None
    for record in records:
        value = record.mean(objective.metric) if record.status == "ok" else None
        if value is not None:
            best = value if best is None else better(best, value)
        yield [record.trial.number, value, best]


def _accuracy_parameters(records: Sequence[TrialRecord], objective: Objective) -> Iterator[Row]:
    yield ["trial", "parameters", objective.metric]
    for record in records:
        if record.status == "ok" and record.trial.proposal.reuse_of is None:
            yield [record.trial.number, record.mean("parameters"), record.mean(objective.metric)]


def _front(records: Sequence[TrialRecord], objective: Objective) -> Iterator[Row]:
    on_front = {record.trial.number for record in front_of({r.trial.number: r for r in records}, objective)}
    yield ["trial", *(one.metric for one in objective.all), "on_front"]
    for record in records:
        if record.status == "ok" and record.trial.proposal.reuse_of is None:
            means = [record.mean(one.metric) for one in objective.all]
            yield [record.trial.number, *means, int(record.trial.number in on_front)]


def _learning_curves(records: Sequence[TrialRecord], objective: Objective) -> Iterator[Row]:
    names = sorted({name for r in records for m in r.measurements for row in m.history for name in row} - {"epoch"})
    yield ["trial", "repeat", "epoch", *names]
    for record in records:
        if record.trial.proposal.reuse_of is None:
            for measurement in record.measurements:
                for number, row in enumerate(measurement.history, 1):
                    values = [row.get(name) for name in names]
                    yield [measurement.trial, measurement.repeat, int(row.get("epoch", number)), *values]


def _origins(records: Sequence[TrialRecord], objective: Objective) -> Iterator[Row]:
    yield ["trial", "parent", "origin", "gain"]
    by_number = {record.trial.number: record for record in records}
    for record in records:
        proposal = record.trial.proposal
        parent = by_number.get(proposal.parent) if proposal.parent is not None else None
        if parent is not None and proposal.reuse_of is None and record.status == parent.status == "ok":
            gain = objective.score(record.measurements) - objective.score(parent.measurements)
            yield [record.trial.number, parent.trial.number, proposal.origin, gain]


_DATA: dict[str, Callable[[Sequence[TrialRecord], Objective], Iterator[Row]]] = {
    "incumbent": _incumbent,
    "accuracy_parameters": _accuracy_parameters,
    "front": _front,
    "learning_curves": _learning_curves,
    "origins": _origins,
}

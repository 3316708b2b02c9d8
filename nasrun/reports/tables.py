"""The tables of a run directory: `trials.csv`, `measurements.csv`, `history.csv` and `genomes.txt`; with several
objectives `front.csv`.

They are derived only from the records, in trial order, and hold the same bytes whenever the records are the same. Times
are only in columns named `seconds`, so that two runs can be compared without them.
"""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from nasrun.core import Genome, Measurement, Objective, SearchSpace, seeding
from nasrun.core.options import printable
from nasrun.reports.front import front_of
from nasrun.storage.records import TrialRecord, replaced

TRIALS = "trials.csv"
MEASUREMENTS = "measurements.csv"
HISTORY = "history.csv"
GENOMES = "genomes.txt"
FRONT = "front.csv"

COUNTS = ("parameters", "flops", "epochs")
"""Metrics with their own columns, after the others; whole numbers are written without a decimal point."""

_WHOLE = {*COUNTS, "micro_batch", "lineage_epochs"}
_BEGINNINGS = {"=", "+", "-", "@"}
"""First characters of text that a spreadsheet would take for a formula."""
_TAKEN = {"trial", "repeat", "repeats", "seed", "status", "genome", "seconds", "parent", "origin", "reuse_of", "error"}


def write_tables(
    directory: Path, records: Mapping[int, TrialRecord], space: SearchSpace, objective: Objective, seed: int
) -> None:
    """Write the tables into `directory`, each of them atomically.

    `records`: trial number to record, in any order. `seed`: the seed of the config, from which the seed of each repeat
    is derived again. OSError (disk full, no permission) passes through.
    """
    ordered = [records[number] for number in sorted(records)]
    genomes = [space.format(record.trial.proposal.genome) for record in ordered]
    metrics = metric_names(ordered, objective)
    write_rows(directory / TRIALS, _trial_rows(ordered, genomes, metrics, objective))
    write_rows(directory / MEASUREMENTS, _measurement_rows(ordered, metrics, objective, seed))
    write_rows(directory / HISTORY, _history_rows(ordered))
    with replaced(directory / GENOMES) as file:
        lines = zip(ordered, genomes, strict=True)
        file.writelines(f"{record.trial.number}\t{genome}\n" for record, genome in lines)
    if objective.others:
        write_rows(directory / FRONT, _front_rows(front_of(records, objective), space, objective))


def read_genomes(path: Path, space: SearchSpace) -> dict[int, Genome]:
    """The genomes of a `genomes.txt`, by trial number.

    ValueError, naming file and line, if a line is not `trial<TAB>genome` or its genome is not of `space`.
    """
    genomes: dict[int, Genome] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1):
        if not line:
            continue
        trial, tab, text = line.partition("\t")
        if not tab or not (trial.isascii() and trial.isdigit()):
            raise ValueError(f"{path}: line {number}: expected a trial number, a tab and a genome")
        if int(trial) in genomes:
            raise ValueError(f"{path}: line {number}: trial {trial} occurs twice")
        try:
            genomes[int(trial)] = space.parse(text)
        except ValueError as error:
            raise ValueError(f"{path}: line {number}: {error}") from None
    return genomes


def metric_names(records: Iterable[TrialRecord], objective: Objective) -> list[str]:
    """The metrics in the order of the columns: the objective, the others sorted, then those of `COUNTS`."""
    found = {name for record in records for m in record.measurements if m.status == "ok" for name in m.metrics}
    others = sorted(found.difference(COUNTS, [objective.metric]))
    return [objective.metric, *others, *(name for name in COUNTS if name != objective.metric)]


def whole(value: float) -> int | float:
    """A number, as an int if it is whole: parameters are counts, but a mean over repeats may not be whole."""
    value = float(value)
    return int(value) if value.is_integer() else value


def one_line(text: str | None) -> str:
    """A text on one line and in characters that UTF-8 can hold: the reason of a failure may come from any code."""
    return printable(" ".join(text.split())) if text else ""


def markdown(text: str) -> str:
    """A text for a cell of a Markdown table, or a line, escaped so that it is neither markup nor the end of the
    cell."""
    return one_line(text).replace("<", "&lt;").replace("|", "\\|")


def trial_rows(records: Sequence[TrialRecord], space: SearchSpace, objective: Objective) -> Iterable[Sequence[object]]:
    """The rows of `trials.csv`, with a header row, for records in the order of the trials."""
    genomes = [space.format(record.trial.proposal.genome) for record in records]
    return _trial_rows(records, genomes, metric_names(records, objective), objective)


def _trial_rows(
    records: Sequence[TrialRecord], genomes: Sequence[str], metrics: Sequence[str], objective: Objective
) -> Iterable[Sequence[object]]:
    names = _headings(metrics, objective)
    deviation = f"{objective.metric}_std"
    ends = ["repeats", "seconds", "parent", "origin", "reuse_of", "error"]
    yield ["trial", "status", "genome", names[0], deviation, *names[1:], *ends]
    for record, genome in zip(records, genomes, strict=True):
        proposal = record.trial.proposal
        cells = [_cell(name, mean) for name, mean in zip(metrics, record.means(metrics), strict=True)]
        yield [
            record.trial.number,
            record.status,
            genome,
            cells[0],
            _cell(deviation, record.deviation(objective.metric)),
            *cells[1:],
            record.repeats,
            _cell("seconds", record.seconds),
            proposal.parent,
            one_line(proposal.origin),
            proposal.reuse_of,
            one_line(record.error),
        ]


def _measurement_rows(
    records: Sequence[TrialRecord], metrics: Sequence[str], objective: Objective, seed: int
) -> Iterable[Sequence[object]]:
    yield ["trial", "repeat", "seed", "status", *_headings(metrics, objective), "seconds", "error"]
    for measurement in _measured(records):
        yield [
            measurement.trial,
            measurement.repeat,
            seeding.integer(seed, seeding.Purpose.JOB, measurement.trial, measurement.repeat),
            measurement.status,
            *(_cell(name, measurement.metrics.get(name)) for name in metrics),
            _cell("seconds", measurement.seconds),
            one_line(measurement.error),
        ]


def _history_rows(records: Sequence[TrialRecord]) -> Iterable[Sequence[object]]:
    found = {name for m in _measured(records) for row in m.history for name in row}
    names = sorted(found - {"trial", "repeat", "epoch", "seconds"})
    yield ["trial", "repeat", "epoch", *names, "seconds"]
    for measurement in _measured(records):
        for number, row in enumerate(measurement.history, 1):
            # A trial that continues from a checkpoint counts its epochs from there, and has an epoch column.
            epoch = int(row.get("epoch", number))
            cells = [_cell(name, row.get(name)) for name in (*names, "seconds")]
            yield [measurement.trial, measurement.repeat, epoch, *cells]


def _front_rows(front: Sequence[TrialRecord], space: SearchSpace, objective: Objective) -> Iterable[Sequence[object]]:
    chosen = [one.metric for one in objective.all]
    names = [*chosen, *(name for name in COUNTS if name not in chosen)]
    yield ["trial", "genome", *_headings(names, objective), "repeats", "parent", "origin"]
    for record in front:
        proposal = record.trial.proposal
        cells = [_cell(name, record.mean(name)) for name in names]
        genome = space.format(proposal.genome)
        yield [record.trial.number, genome, *cells, record.repeats, proposal.parent, proposal.origin]


def _measured(records: Iterable[TrialRecord]) -> Iterable[Measurement]:
    """Measurements that were made; those of a reused trial belong to the original."""
    for record in records:
        if record.trial.proposal.reuse_of is None:
            yield from record.measurements


def _headings(metrics: Sequence[str], objective: Objective) -> list[str]:
    """Column names; a metric that would repeat the name of a fixed column is marked as a metric."""
    taken = {*_TAKEN, f"{objective.metric}_std"}
    return [f"metric_{name}" if name in taken else name for name in metrics]


def _cell(name: str, value: float | None) -> str:
    if value is None:
        return ""
    return repr(whole(value) if name in _WHOLE else float(value))


def write_rows(path: Path, rows: Iterable[Sequence[object]]) -> None:
    """Write rows as a CSV file, atomically; consumes them one by one."""
    with replaced(path) as file:
        csv.writer(file, lineterminator="\n").writerows(map(_harmless, rows))


def csv_text(rows: Iterable[Sequence[object]]) -> str:
    """Rows as the text of a CSV file."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(map(_harmless, rows))
    return text.getvalue()


def _harmless(row: Sequence[object]) -> Sequence[object]:
    """The cells, with a quote before text that a spreadsheet would evaluate as a formula."""
    for cell in row:
        if isinstance(cell, str) and cell[:1] in _BEGINNINGS:
            break
    else:
        return row
    return [f"'{cell}" if isinstance(cell, str) and _is_formula(cell) else cell for cell in row]


def _is_formula(text: str) -> bool:
    if text[:1] not in _BEGINNINGS or text in ("-", "+"):
        return False
    try:
        float(text)
    except ValueError:
        return True
    return False

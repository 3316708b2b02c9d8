"""The tables: their columns, their bytes, and that they can be read back."""

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nasrun.core import Measurement, Objective, Proposal, Trial
from nasrun.core.seeding import Purpose, integer
from nasrun.reports.tables import GENOMES, HISTORY, MEASUREMENTS, TRIALS, one_line, read_genomes, write_tables
from nasrun.storage.records import TrialRecord

FILES = (TRIALS, MEASUREMENTS, HISTORY, GENOMES)


@pytest.fixture
def small(write_run, ok):
    """Two repeats, a mixed trial, a failure, and a trial that reuses the first."""
    extra = {"parameters": 1234.0, "flops": 5000.0, "epochs": 2.0, "val_loss": 0.5}
    return write_run(
        [
            (Proposal((1, 2)), [ok(0, 0.5, **extra), ok(0, 0.75, repeat=1, length=2, **extra)]),
            (Proposal((3,), parent=0, origin="swap"), [Measurement(1, 0, "failed", {}, "loss is\nNaN,\r\n at 3", 1.5)]),
            (Proposal((2, 1), parent=0, origin="swap", reuse_of=0), []),
            (Proposal((4,)), [Measurement(3, 0, "failed", {}, "killed", 1.0), ok(3, 0.25, repeat=1, **extra)]),
        ]
    )


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_trials_table_to_the_byte(small, space):
    write_tables(small.directory, small.trials, space, Objective(), seed=3)
    assert (small.directory / TRIALS).read_bytes().decode() == (
        "trial,status,genome,val_accuracy,val_accuracy_std,val_loss,parameters,flops,epochs,repeats,seconds,"
        "parent,origin,reuse_of,error\n"
        "0,ok,d1-d2,0.625,0.1767766952966369,0.5,1234,5000,2,2,4.0,,sample,,\n"
        '1,failed,d3,,,,,,,0,1.5,0,swap,,"loss is NaN, at 3"\n'
        "2,ok,d2-d1,0.625,0.1767766952966369,0.5,1234,5000,2,2,0.0,0,swap,0,\n"
        "3,ok,d4,0.25,,0.5,1234,5000,2,1,3.0,,sample,,killed\n"
    )


def test_measurements_hold_each_repeat_with_its_seed_and_none_of_a_reused_trial(small, space):
    write_tables(small.directory, small.trials, space, Objective(), seed=3)
    rows = read(small.directory / MEASUREMENTS)
    assert [(r["trial"], r["repeat"], r["status"]) for r in rows] == [
        ("0", "0", "ok"),
        ("0", "1", "ok"),
        ("1", "0", "failed"),
        ("3", "0", "failed"),
        ("3", "1", "ok"),
    ]
    for row in rows:
        assert int(row["seed"]) == integer(3, Purpose.JOB, int(row["trial"]), int(row["repeat"]))
    assert list(rows[0])[-2:] == ["seconds", "error"]
    assert rows[1]["val_accuracy"] == "0.75"
    assert rows[2]["val_accuracy"] == ""


def test_history_counts_epochs_and_ends_with_seconds(small, space):
    write_tables(small.directory, small.trials, space, Objective(), seed=3)
    assert (small.directory / HISTORY).read_text() == (
        "trial,repeat,epoch,train_loss,val_accuracy,seconds\n0,1,1,1.0,0.375,0.5\n0,1,2,0.5,0.75,0.5\n"
    )


def test_history_keeps_the_epochs_of_a_trial_that_went_on(space, tmp_path):
    one = Measurement(0, 0, "ok", {"val_accuracy": 0.5}, history=[{"epoch": 6, "val_accuracy": 0.4}])
    write_tables(tmp_path, {0: TrialRecord(Trial(0, Proposal((1,))), [one])}, space, Objective(), 0)
    assert (tmp_path / HISTORY).read_text().splitlines() == ["trial,repeat,epoch,val_accuracy,seconds", "0,0,6,0.4,"]


def test_the_order_in_which_trials_were_told_changes_no_byte(search, space, tmp_path):
    records = search(60)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    write_tables(tmp_path / "a", records, space, Objective(), 0)
    write_tables(tmp_path / "b", dict(reversed(records.items())), space, Objective(), 0)
    for name in FILES:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert [int(row["trial"]) for row in read(tmp_path / "b" / TRIALS)] == list(range(60))


def test_time_stands_in_columns_named_seconds_and_nowhere_else(search, space, tmp_path):
    slower = {
        n: TrialRecord(r.trial, [m._replace(seconds=m.seconds + 1.25) for m in r.measurements])
        for n, r in search(40).items()
    }
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    write_tables(tmp_path / "a", search(40), space, Objective(), 0)
    write_tables(tmp_path / "b", slower, space, Objective(), 0)
    for name in (TRIALS, MEASUREMENTS):
        for left, right in zip(read(tmp_path / "a" / name), read(tmp_path / "b" / name), strict=True):
            assert {key for key in left if left[key] != right[key]} == {"seconds"}


def test_an_objective_with_a_fixed_column_and_a_metric_with_a_taken_name(space, tmp_path):
    metrics = {"parameters": 10.0, "flops": 3.5, "seconds": 7.0}
    records = {0: TrialRecord(Trial(0, Proposal((1,))), [Measurement(0, 0, "ok", metrics)])}
    write_tables(tmp_path, records, space, Objective("parameters", "min"), 0)
    header, row = csv.reader(io.StringIO((tmp_path / TRIALS).read_text()))
    cells = dict(zip(header, row, strict=True))
    assert len(set(header)) == len(header)
    assert header[3] == "parameters"
    assert (cells["parameters"], cells["flops"], cells["metric_seconds"], cells["seconds"]) == (
        "10",
        "3.5",
        "7.0",
        "0.0",
    )


def test_no_trials_give_tables_with_headers(space, tmp_path):
    write_tables(tmp_path, {}, space, Objective("val_loss", "min"), 0)
    assert read(tmp_path / TRIALS) == []
    assert (tmp_path / TRIALS).read_text().startswith("trial,status,genome,val_loss,val_loss_std,parameters,")
    assert read_genomes(tmp_path / GENOMES, space) == {}


@given(st.text() | st.text(st.characters(), min_size=1))
def test_any_reason_is_one_line_that_utf8_holds(text):
    line = one_line(text)
    assert len(line.splitlines()) <= 1
    assert "\t" not in line
    assert one_line(line) == line
    line.encode("utf-8")


def test_a_reason_with_broken_characters_is_written(space, tmp_path):
    failed = Measurement(0, 0, "failed", error="bad file \udcff\u2028and\0more")
    write_tables(tmp_path, {0: TrialRecord(Trial(0, Proposal((1,))), [failed])}, space, Objective(), 0)
    assert read(tmp_path / TRIALS)[0]["error"] == "bad file ? and?more"


def test_genomes_are_read_back(search, space, tmp_path):
    records = search(50)
    write_tables(tmp_path, records, space, Objective(), 0)
    expected = {number: record.trial.proposal.genome for number, record in records.items()}
    assert read_genomes(tmp_path / GENOMES, space) == expected


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("0\td1\n1 d2\n", "line 2: expected a trial number, a tab and a genome"),
        ("x\td1\n", "line 1: expected a trial number"),
        ("0\td1\n1\tq2\n", "line 2: position 0: expected d and a digit, found 'q2'"),
        ("0\td1\n0\td2\n", "line 2: trial 0 occurs twice"),
    ],
)
def test_a_damaged_genomes_file_is_refused_with_its_line(text, complaint, space, tmp_path):
    (tmp_path / GENOMES).write_text(text)
    with pytest.raises(ValueError, match=complaint) as caught:
        read_genomes(tmp_path / GENOMES, space)
    assert GENOMES in str(caught.value)


def test_genomes_are_formatted_once_for_all_tables(search, space, tmp_path):
    records = search(5000, epochs=1)
    write_tables(tmp_path, records, space, Objective(), 0)
    assert space.formatted == 5000

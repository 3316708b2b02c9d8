"""The summary of a run and its best network."""

import json
import math
from dataclasses import replace

import pytest

from nasrun.core import Measurement, Objective, Proposal
from nasrun.reports.summary import count, describe, duration, finite, number, shorten, summarise, write_summary


@pytest.fixture
def run(write_run, ok):
    size = {"parameters": 100.0, "flops": 200.0}
    return write_run(
        [
            (Proposal((1, 2)), [ok(0, 0.5, **size), ok(0, 0.75, repeat=1, **size)]),
            (Proposal((2, 1), reuse_of=0), []),
            (Proposal((5,)), [ok(2, 0.125, **size)]),
            (Proposal((6,)), [Measurement(3, 0, "failed", {}, "out of memory", 4.0)]),
            (Proposal((7,)), [Measurement(4, 0, "infeasible", {}, "too large")]),
            (Proposal((8,), parent=0, origin="swap"), [ok(5, 0.875, **size)]),
        ],
        final={"metrics": {"test_accuracy": 0.85, "odd": float(7)}, "seconds": 10.0},
        reason="all trials are done",
    )


def test_counts_times_and_improvement(run, space):
    summary = summarise(run, space, Objective())
    assert summary["status"] == {"ok": 4, "failed": 1, "infeasible": 1}
    assert (summary["trials"], summary["reused"], summary["distinct_architectures"]) == (6, 1, 5)
    assert summary["wall_seconds"] == 6.0
    assert summary["device_seconds"] == 4 * 2.0 + 4.0 + 10.0
    # Trial 1 is the architecture of trial 0, so it counts once.
    assert (summary["sample_count"], summary["sample_mean"]) == (2, (0.625 + 0.125) / 2)
    assert summary["improvement_over_sample_mean"] == 0.875 - 0.375
    assert summary["stop_reason"] == "all trials are done"
    assert summary["final"] == {"test_accuracy": 0.85, "odd": 7.0}
    assert summary["best"] == {
        "trial": 5,
        "genome": "d8",
        "metrics": {"val_accuracy": 0.875},
        "deviation": None,
        "repeats": 1,
        "parameters": 100,
        "flops": 200,
        "origin": "swap",
    }


def test_a_smaller_loss_is_an_improvement(write_run, ok, space):
    losses = (0.5, 0.25, 0.75)
    run = write_run([(Proposal((n,)), [ok(n, loss, metric="val_loss")]) for n, loss in enumerate(losses)])
    summary = summarise(run, space, Objective("val_loss", "min"))
    assert summary["best"]["trial"] == 1
    assert summary["improvement_over_sample_mean"] == 0.25
    assert summary["stop_reason"] is None
    assert summary["final"] == {}


def test_files_hold_the_summary_and_the_best(run, space):
    summary = write_summary(run, space, Objective())
    assert json.loads((run.directory / "summary.json").read_text()) == summary
    best = json.loads((run.directory / "best.json").read_text())
    assert (best["trial"], best["genome"], best["genome_tokens"], best["parent"]) == (5, "d8", [8], 0)
    assert best["repeats"]["val_accuracy"] == [0.875]
    assert best["final"]["test_accuracy"] == 0.85
    assert best["metrics"] == {"flops": 200, "parameters": 100, "val_accuracy": 0.875}


def test_best_holds_no_time(run, space):
    write_summary(run, space, Objective())
    before = (run.directory / "best.json").read_bytes()
    for record in run.trials.values():
        record.measurements = [m._replace(seconds=m.seconds + 3) for m in record.measurements]
    run.take(replace(run.final, result={**run.final.result, "seconds": 99.0}, time=run.header.time + 99))
    assert run.wall_seconds == 99.0
    write_summary(run, space, Objective())
    assert (run.directory / "best.json").read_bytes() == before


def test_no_success_gives_no_best(write_run, space):
    run = write_run([(Proposal((1,)), [Measurement(0, 0, "failed", {}, "out of memory", 1.0)])], reason="failed")
    summary = write_summary(run, space, Objective())
    assert summary["best"] is None
    assert summary["sample_mean"] is None
    assert not (run.directory / "best.json").exists()
    assert describe(summary, run.directory)[0].endswith("none: no trial succeeded")


def test_a_run_without_trials_is_described(write_run, space):
    run = write_run([])
    assert any(line.startswith("trials") for line in describe(summarise(run, space, Objective()), run.directory))


def test_the_closing_block_names_everything(run, space, monkeypatch):
    monkeypatch.chdir(run.directory.parent)
    text = "\n".join(describe(summarise(run, space, Objective()), run.directory))
    for part in ("trial 5 (swap)", "d8", "0.8750", "test_accuracy  0.8500", "1 failed, 1 infeasible; 1 reused"):
        assert part in text
    assert text.endswith("run            run")
    assert "odd" not in text


def test_json_is_finite():
    content = {"a": float("nan"), "b": (1, math.inf), "c": {"d": object}, "e": True, "f": None}
    text = json.dumps(finite(content), allow_nan=False)
    assert json.loads(text) == {"a": None, "b": [1, None], "c": {"d": str(object)}, "e": True, "f": None}


def test_words():
    assert [duration(s) for s in (4.2, 59.96, 185, 7620)] == ["4.2 s", "1 min 00 s", "3 min 05 s", "2 h 07 min"]
    assert [number(v) for v in (None, 0.5, 12345.678, 1e-7)] == ["-", "0.5000", "1.235e+04", "1e-07"]
    assert (count(None), count(1234567.0)) == ("-", "1,234,567")
    assert (shorten("abcdefghij", 10), shorten("abcdefghijk", 6), shorten("abcdef", 1)) == (
        "abcdefghij",
        "abc…jk",
        "a…f",
    )


def test_simulated_time_is_that_of_the_trainings_looked_up(write_run, ok, space, tmp_path):
    run = write_run(
        [
            (Proposal((1,)), [ok(0, 0.5, simulated_seconds=1000.0), ok(0, 0.5, repeat=1, simulated_seconds=500.5)]),
            (Proposal((1,), reuse_of=0), []),
            (Proposal((2,)), [Measurement(2, 0, "infeasible", {}, "not in the table")]),
            (Proposal((3,)), [ok(3, 0.25, simulated_seconds=3600.0)]),
        ],
        final={"metrics": {"test_accuracy": 0.5, "val_regret": 0.125}, "seconds": 0.0},
    )
    summary = summarise(run, space, Objective())
    assert summary["simulated_seconds"] == 5100.5
    lines = describe(summary, tmp_path)
    assert [line.split()[-1] for line in lines if line.startswith("val_regret")] == ["0.1250"]
    assert any(line.startswith("time") and line.endswith(", simulated 1 h 25 min)") for line in lines)


def test_runs_that_train_have_no_simulated_time(run, space, tmp_path):
    summary = summarise(run, space, Objective())
    assert "simulated_seconds" not in summary
    assert not any("simulated" in line for line in describe(summary, tmp_path))

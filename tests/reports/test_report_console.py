"""The console: plain lines under a pipe, the live view under a pseudo-terminal."""

import os
import pty
import re
import struct
import subprocess
import sys
import termios
import time
from fcntl import ioctl
from pathlib import Path

import pytest

from nasrun.core import Measurement, Objective, Progress, Proposal, Trial
from nasrun.reports.console import plain as console
from nasrun.reports.console.live import Live
from nasrun.reports.console.plain import make_console
from nasrun.reports.summary import summarise
from nasrun.storage.events import RunStarted
from nasrun.storage.records import Observer, RunRecords, TrialRecord, best_of

SCRIPT = """
import sys, time
sys.path.insert(0, {here!r})
from pathlib import Path
from conftest import NumbersSpace, make_records
from nasrun.core import Objective, Progress
from nasrun.storage.events import Ended, FinalTested, RunStarted
from nasrun.storage.records import RunRecords, best_of
from nasrun.reports.console.plain import make_console
from nasrun.reports.summary import summarise
mode, trials, pause = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
records, done, objective, space = make_records(trials), {{}}, Objective(), NumbersSpace()
view = make_console(mode, space, objective)
view.on_start(trials, {{}}, Path("runs/12-00-00_random_toy"))
view.message("precision: bf16")
for number, record in records.items():
    view.on_trial_start(record.trial)
    time.sleep(pause / 2)
    view.on_progress(Progress(number, 0, 2, 3, {{"val_accuracy": 0.5}}))
    time.sleep(pause / 2)
    done[number] = record
    view.on_trial_complete(record, best_of(done, objective))
view.on_final_training(best_of(done, objective), "final training and test")
run = RunRecords(Path("runs"), RunStarted(time=0.0), trials=done)
for event in FinalTested(time=3.0, result={{"metrics": {{"test_accuracy": 0.8125}}}}), Ended(time=3.0, reason="done"):
    run.take(event)
view.on_finish(summarise(run, space, objective))
view.close()
loaded = {{name.partition(".")[0] for name in sys.modules}}
print("LOADED", *sorted(loaded & {{"rich", "torch", "matplotlib"}}), file=sys.stderr)
"""


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-c", SCRIPT.format(here=str(Path(__file__).parent)), *arguments]


def under_terminal(*arguments: str, columns: int = 100, lines: int = 30, encoding: str = "utf-8") -> tuple[str, str]:
    """Run the script with stdout on a pseudo-terminal; returns what it drew and its stderr."""
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    hidden = ("COLUMNS", "LINES", "NO_COLOR")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    environment |= {"TERM": "xterm-256color", "PYTHONIOENCODING": encoding}
    child = subprocess.Popen(command(*arguments), stdout=theirs, stderr=subprocess.PIPE, env=environment)
    os.close(theirs)
    drawn = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # what Linux answers when the other side of a terminal is gone
            break
        if not piece:
            break
        drawn += piece
    os.close(ours)
    errors = child.communicate(timeout=30)[1].decode()
    assert child.returncode == 0, errors
    return drawn.decode(encoding), errors


def without_colours(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)


def test_live_view_on_a_terminal():
    drawn, errors = under_terminal("auto", "12", "0.1")
    text = without_colours(drawn)
    assert "Traceback" not in errors
    assert "12/12" in text
    assert "epoch 2/3" in text
    assert "precision: bf16" in text
    assert re.search(r"trial +val_accuracy +parameters +origin +genome", text)
    assert "last failure: trial 11: out of memory" in text
    assert text.rstrip().endswith("run            runs/12-00-00_random_toy")
    assert "test_accuracy  0.8125" in text
    # The cursor is hidden while the view is up and given back.
    assert drawn.rindex("\x1b[?25h") > drawn.rindex("\x1b[?25l")
    # 1.2 seconds of trials: at most four drawings a second, the first, the last, and one for the message.
    assert 3 <= text.count("trials  ") <= 10


def test_live_view_on_a_narrow_low_ascii_terminal():
    drawn, errors = under_terminal("auto", "12", "0.05", columns=30, lines=8, encoding="ascii")
    assert "Traceback" not in errors
    text = without_colours(drawn)
    view = text[: text.index("best           ")]
    assert "##" in view
    assert all(len(line) <= 30 for line in re.split(r"[\r\n]+", view))


def test_plain_under_a_pipe_loads_no_rich():
    done = subprocess.run(command("auto", "12", "0.15"), capture_output=True, text=True, check=True)
    assert done.stderr == "LOADED\n"
    assert "\x1b" not in done.stdout
    lines = done.stdout.splitlines()
    assert lines[0] == "run runs/12-00-00_random_toy: 12 trials"
    told = [line for line in lines if line.startswith("[")]
    assert 2 <= len(told) <= 12
    assert "failed: out of memory  (1 failed so far)" in told[-1]
    assert any("new best" in line for line in told)
    assert any(re.match(r"final training and test: trial \d+, val_accuracy ", line) for line in lines)


def test_a_reader_that_leaves_does_not_stop_the_run():
    # With the usual buffering, what could not be written is tried again when the process ends.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    child = subprocess.Popen(
        command("plain", "8", "0.2"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    assert child.stdout is not None
    assert child.stdout.readline().startswith("run ")
    child.stdout.close()
    assert child.stderr is not None
    errors = child.stderr.read()
    assert child.wait(30) == 0
    assert errors == "LOADED\n"


@pytest.fixture
def clock(monkeypatch):
    """A clock that only the test moves."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def tell_all(view, records, clock, step):
    done = {}
    view.on_start(len(records), {}, Path("runs/x"))
    for number, record in records.items():
        done[number] = record
        view.on_trial_complete(record, best_of(done, Objective()))
        clock[0] += step


def test_slow_trials_have_a_line_each(space, search, capsys, clock):
    tell_all(make_console("plain", space, Objective()), search(20), clock, 1.0)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines[1:]] == [f"[{n + 1:>2}/20] trial {n}" for n in range(20)]


def test_fast_trials_are_throttled_but_the_best_is_never_lost(space, search, capsys, clock):
    records = search(200)
    view = make_console("plain", space, Objective())
    tell_all(view, records, clock, 0.01)
    printed = len(capsys.readouterr().out.splitlines()) - 1
    assert printed <= 2 * 2 + 3
    view.close()
    capsys.readouterr()
    best = best_of(records, Objective()).trial.number
    view = make_console("plain", space, Objective())
    tell_all(view, records, clock, 0.0)
    view.close()
    out = capsys.readouterr().out
    assert re.search(rf"trial {best}  .*new best", out)
    assert len(out.splitlines()) <= 5
    assert "[200/200] trial 199" in out


def test_a_line_says_what_was_reused_and_fits_the_width(space, ok, capsys, monkeypatch, clock):
    monkeypatch.setenv("COLUMNS", "120")
    view = make_console("plain", space, Objective())
    first = TrialRecord(Trial(0, Proposal((1,) * 60)), [ok(0, 0.5, parameters=1234.0)])
    second = TrialRecord(Trial(1, Proposal((1,) * 60, origin="swap", reuse_of=0)), [ok(1, 0.5, parameters=1234.0)])
    view.on_start(2, {}, Path("x"))
    view.on_trial_complete(first, first)
    clock[0] += 9
    view.on_trial_complete(second, first)
    lines = capsys.readouterr().out.splitlines()[1:]
    assert [len(line) for line in lines] == [120, 120]
    assert "…" in lines[0]
    assert "1,234 parameters  sample  2.0 s  new best  d1-d1" in lines[0]
    assert "swap  reuses trial 0  best 0.5000 (trial 0)" in lines[1]


def test_resumed_runs_count_on(space, search, capsys, clock):
    records = search(12)
    view = make_console("plain", space, Objective())
    view.on_start(20, records, Path("x"))
    failed = TrialRecord(Trial(12, Proposal((1,))), [Measurement(12, 0, "failed", error="time\nlimit")])
    view.on_trial_complete(failed, records[0])
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["run x: 20 trials, 12 done before", "[13/20] trial 12  failed: time limit  (2 failed so far)"]


@pytest.mark.parametrize("mode", ["plain", "live"])
def test_events_cost_next_to_nothing(mode, space, search, capsys):
    records = search(1500, epochs=0)
    view = make_console(mode, space, Objective())
    view.on_start(1500, {}, Path("x"))
    costs = []
    for _ in range(3):
        began = time.perf_counter()
        for record in records.values():
            view.on_trial_start(record.trial)
            view.on_trial_complete(record, records[0])
        costs.append((time.perf_counter() - began) / len(records))
    view.close()
    # Under 2 microseconds on an idle machine; the bound leaves room for a busy one.
    assert min(costs) < 10e-6


@pytest.mark.parametrize("mode", ["plain", "live"])
def test_close_can_be_called_at_any_time_and_twice(mode, space, search, capsys):
    make_console(mode, space, Objective()).close()
    view = make_console(mode, space, Objective())
    view.on_start(5, {}, Path("x"))
    view.on_trial_start(Trial(0, Proposal((1,))))
    view.close()
    view.close()
    stdout = sys.stdout
    records = search(5)
    view.on_finish(summarise(RunRecords(Path("x"), RunStarted(), trials=records), space, Objective()))
    assert sys.stdout is stdout
    assert "genome" in capsys.readouterr().out


def test_modes(space, capsys, monkeypatch):
    silent = make_console("none", space, Objective())
    assert type(silent) is Observer
    silent.message("x")
    assert capsys.readouterr().out == ""
    with pytest.raises(ValueError, match="expected auto, live, plain or none"):
        make_console("loud", space, Objective())
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "dumb")
    assert type(make_console("auto", space, Objective())) is console._Plain
    monkeypatch.setenv("TERM", "xterm")
    assert type(make_console("auto", space, Objective())) is Live


def test_a_long_training_has_a_line_now_and_then(space, capsys, clock):
    view = make_console("plain", space, Objective())
    view.on_start(3, {}, Path("run"))
    for _ in range(40):
        clock[0] += 1.0
        view.on_progress(Progress(0, 0, 2, 8, {"val_accuracy": 0.5}))
        view.on_progress(Progress(0, 1, 2, 8, {}, 0.25))
    assert capsys.readouterr().out.splitlines()[1:] == [
        "trial 0: 2 of 8 epochs  val_accuracy 0.5000",
        "trial 0: 2 of 8 epochs  val_accuracy 0.5000",
    ]
    clock[0] += 20.0
    view.on_progress(Progress(-1, 0, 2, 8, {}, 0.25))
    assert capsys.readouterr().out == "final training: 2 of 8 epochs and 25 % of the next\n"


def test_the_live_view_shows_how_far_an_epoch_is(space):
    view = Live(space, Objective())
    view.on_progress(Progress(3, 0, 2, 8, {"val_accuracy": 0.5}))
    view.on_progress(Progress(3, 0, 2, 8, {}, 0.25))
    [line] = map(str, view.jobs(100))
    assert "epoch 3/8 25 %" in line
    assert "val_accuracy 0.5" in line

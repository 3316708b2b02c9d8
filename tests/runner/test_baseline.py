"""`baseline=true`: a known network beside the winner, on record, resumed, and told everywhere."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nasrun.core import Job
from nasrun.core.options import ConfigError
from nasrun.evaluators.train.evaluator import Train
from nasrun.reports.tested import better_by, read_tested
from nasrun.runner.run import resume
from nasrun.spaces.staged_cnn.known import KNOWN
from nasrun.storage import journal
from nasrun.storage.journal import Line
from tests.support import made_run

SEQUENTIAL = ("search_space=sequential_cnn", "search_space.max_depth=3", "search_space.filters=[4,8]")
SHORT = (
    "recipe=plain",
    "trials=2",
    "strategy=random",
    "evaluator.epochs=1",
    "evaluator.final_epochs=12",
    "dataset.train_samples=200",
    "evaluator.epoch_images=200",
    "constraints.parameters=6000",
    "hardware=cpu",
    "hardware.threads=1",
    "hardware.precision=fp32",
    "output.console=none",
    "output.plots=false",
    "baseline=true",
)


def ran(directory: Path, *words: str, space: tuple[str, ...] = SEQUENTIAL) -> Path:
    return made_run(directory, *space, *SHORT, *words)


def events_of(directory: Path, kind: str) -> list[Line]:
    return [event for event in journal.read(directory / journal.NAME) if event["event"] == kind]


def without_clock(event: Line) -> Line:
    return {name: value for name, value in event.items() if name not in ("time", "seconds", "crc")}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ran(tmp_path_factory.mktemp("baseline") / "run")


def test_it_is_trained_by_a_plan_and_tested(run: Path) -> None:
    [plan], [found] = events_of(run, "baseline_plan"), events_of(run, "baseline")
    assert plan["epochs"] == max(1, round(12 * plan["winner_epoch_seconds"] / plan["epoch_seconds"]))
    assert found["parameters"] <= 6000
    kinds = [event["event"] for event in journal.read(run / journal.NAME)]
    assert kinds[-4:] == ["final", "baseline_plan", "baseline", "end"]
    assert sorted(path.name for path in (run / "baseline").iterdir()) == [
        "model.safetensors",
        "test_predictions.safetensors",
    ]
    winner, other = read_tested(run), read_tested(run, "baseline")
    assert winner is not None
    assert other is not None
    assert other.right / other.images == found["metrics"]["test_accuracy"]
    told = json.loads((run / "summary.json").read_text())["baseline"]
    assert told["winner_better_by"] == pytest.approx((winner.right - other.right) / other.images)
    assert told["interval"][0] < told["winner_better_by"] < told["interval"][1]


def test_the_interval_of_a_difference_is_of_pairs(run: Path) -> None:
    winner, other = read_tested(run), read_tested(run, "baseline")
    assert winner is not None
    assert other is not None
    difference, interval = better_by(winner, other)
    rng = np.random.default_rng(0)
    right = [(t.predictions.answers == t.predictions.labels) for t in (winner, other)]
    places = rng.integers(0, winner.images, (2000, winner.images))
    means = right[0][places].mean(1) - right[1][places].mean(1)
    assert interval.low == pytest.approx(np.quantile(means, 0.025), abs=0.004)
    assert interval.high == pytest.approx(np.quantile(means, 0.975), abs=0.004)
    assert better_by(other, winner)[0] == -difference


@pytest.mark.parametrize("stop", ["plan", "first piece", "trained"])
def test_a_run_that_was_cut_short_comes_to_the_same(
    stop: str, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tmp_path / "run"
    shutil.copytree(run, whole)
    lines = (whole / journal.NAME).read_bytes().splitlines(keepends=True)
    (whole / journal.NAME).write_bytes(b"".join(lines[:-2]))  # without `baseline` and `end`
    shutil.rmtree(whole / "baseline")
    if stop != "plan":
        pieces = _stopping(monkeypatch, 1 if stop == "first piece" else None)
        with pytest.raises(KeyboardInterrupt):
            resume(whole, {})
        assert (whole / "baseline" / "1.zip").is_file()
        assert pieces
        monkeypatch.undo()
    resume(whole, {})
    assert without_clock(events_of(whole, "baseline")[0]) == without_clock(events_of(run, "baseline")[0])
    assert len(events_of(whole, "baseline_plan")) == 1
    for name in ("model.safetensors", "test_predictions.safetensors"):
        assert (whole / "baseline" / name).read_bytes() == (run / "baseline" / name).read_bytes()


def _stopping(monkeypatch: pytest.MonkeyPatch, pieces: int | None) -> list[Job]:
    """Ctrl-C after so many pieces of the training, or before its test."""
    done: list[Job] = []
    train_on = Train.train_on

    def counted(evaluator: Train, job: Job, *, search_data: bool = False) -> object:
        if pieces is not None and len(done) == pieces:
            raise KeyboardInterrupt
        done.append(job)
        return train_on(evaluator, job, search_data=search_data)

    def stopped(evaluator: Train, job: Job) -> object:
        raise KeyboardInterrupt

    monkeypatch.setattr(Train, "train_on", counted)
    if pieces is None:
        monkeypatch.setattr(Train, "test", stopped)
    return done


def test_a_finished_run_can_be_given_one(tmp_path: Path, run: Path) -> None:
    plain = ran(tmp_path / "run", "baseline=false")
    assert not events_of(plain, "baseline")
    resume(plain, {"baseline": True})
    [found] = events_of(plain, "baseline")
    assert found["name"] == events_of(run, "baseline")[0]["name"]
    assert (plain / "best" / "model.safetensors").read_bytes() == (run / "best" / "model.safetensors").read_bytes()


def test_a_winner_that_is_known_needs_no_other(tmp_path: Path) -> None:
    run = ran(tmp_path / "run", "trials=1", "strategy=aging_evolution", space=("search_space=staged_cnn",))
    told = json.loads((run / "summary.json").read_text())["baseline"]
    assert told["is_winner"]
    assert told["genome"] == json.loads((run / "best.json").read_text())["genome"]


def test_a_winner_may_be_any_of_the_known_networks(tmp_path: Path) -> None:
    genome = next(name for name in KNOWN.values() if name.startswith("hswish-"))
    words = ("trials=1", "strategy=grid", f"strategy.genomes=[{genome}]", "constraints.parameters=100000")
    run = ran(tmp_path / "run", *words, space=("search_space=staged_cnn",))
    told = json.loads((run / "summary.json").read_text())["baseline"]
    assert told["is_winner"]
    assert told["genome"] == genome
    assert KNOWN[told["name"]] == genome


def test_where_no_known_network_fits_none_is_trained(tmp_path: Path) -> None:
    run = ran(tmp_path / "run", "constraints.parameters=null", "constraints.flops=30000")
    assert not events_of(run, "baseline")


def test_the_line_stands_everywhere(run: Path, tmp_path: Path, nasrun_inprocess: Callable) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    assert nasrun_inprocess("report copy").returncode == 0
    assert "known network at the same cost" in (copy / "report.html").read_text()
    assert nasrun_inprocess("export copy --format safetensors --no-data").returncode == 0
    card = (copy / "export" / "MODEL_CARD.md").read_text()
    assert "known network at the same cost: resnet" in card


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("evaluator=synthetic",), "needs evaluator=train"),
        (("evaluator=supernet", "search_space=macro_cnn", "constraints.parameters=null"), "needs evaluator=train"),
    ],
)
def test_what_can_have_none_says_so(words: tuple[str, ...], reason: str, tmp_path: Path) -> None:
    kept = [word for word in SHORT if not word.startswith("evaluator.")]
    with pytest.raises(ConfigError, match=f"baseline=true: {reason}"):
        made_run(tmp_path / "run", *kept, *words)
    assert not (tmp_path / "run").exists()

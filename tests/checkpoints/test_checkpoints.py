"""Weights on disk: which are kept, how they are written, and that reading them runs no code."""

import pickle
from collections.abc import Collection
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from nasrun.checkpoints.store import FOLDER, CheckpointStore, averaged, inherit, load_weights, save_weights
from nasrun.core import Measurement, Objective, Proposal, Trial, WarmStart
from nasrun.storage.records import TrialRecord, best_of

MAX, MIN = Objective("val_accuracy", "max"), Objective("val_accuracy", "min")


class Run:
    """A search that tells trials one after another, each with a checkpoint of a thousand bytes per repeat."""

    def __init__(self, folder: Path, objective: Objective = MAX, **options: object) -> None:
        self.folder, self.objective, self.options = folder, objective, options
        self.records: dict[int, TrialRecord] = {}
        self.resume()

    def resume(self) -> None:
        self.store = CheckpointStore(self.folder, **self.options)  # type: ignore[arg-type]

    def save(self, number: int, repeats: int = 1, size: int = 1000) -> None:
        for repeat in range(repeats):
            target = self.store.target(number, repeat)
            if target is not None:
                Path(target).parent.mkdir(parents=True, exist_ok=True)
                Path(target).write_bytes(b"x" * size)

    def tell(
        self,
        number: int,
        *values: float | None,
        size: int = 1000,
        reuse_of: int | None = None,
        needed: Collection[int] = (),
    ) -> None:
        """`values`: of each repeat; None for one that failed."""
        measurements = [
            Measurement(number, repeat, "failed", error="no")
            if value is None
            else Measurement(number, repeat, "ok", {"val_accuracy": value})
            for repeat, value in enumerate(values)
        ]
        if reuse_of is None and any(value is not None for value in values):
            self.save(number, len(values), size)
        self.records[number] = TrialRecord(Trial(number, Proposal((number,), reuse_of=reuse_of)), measurements)
        self.store.keep_best(self.records, self.objective, needed)

    @property
    def kept(self) -> list[str]:
        folder = self.folder / FOLDER
        return sorted(path.name.removesuffix(".zip") for path in folder.iterdir()) if folder.is_dir() else []


def test_best_keeps_the_best(tmp_path: Path) -> None:
    run = Run(tmp_path, keep="best")
    kept = []
    for number, value in enumerate([0.5, 0.4, 0.7, 0.6]):
        run.tell(number, value)
        kept.append(run.kept)
    assert kept == [["0-0"], ["0-0"], ["2-0"], ["2-0"]]


def test_best_follows_the_mode(tmp_path: Path) -> None:
    run = Run(tmp_path, MIN, keep="best")
    for number, value in enumerate([0.5, 0.4, 0.7]):
        run.tell(number, value)
    assert run.kept == ["1-0"]


@pytest.mark.parametrize("resumed_after", [0, 1, 3, 5, 6])
def test_count_of_the_best_also_after_a_resume(tmp_path: Path, resumed_after: int) -> None:
    run = Run(tmp_path, keep="best", count=3)
    for number, value in enumerate([0.1, 0.9, 0.3, 0.8, 0.2, 0.5]):
        if number == resumed_after:
            run.resume()
        run.tell(number, value)
    run.resume()
    run.store.keep_best(run.records, MAX)
    assert run.kept == ["1-0", "3-0", "5-0"]


def test_repeats_stay_together_and_their_mean_counts(tmp_path: Path) -> None:
    run = Run(tmp_path, keep="best")
    run.tell(0, 0.5, 0.5)
    run.tell(1, 0.9, 0.0)
    assert run.kept == ["0-0", "0-1"]
    run.tell(2, 0.6, None)
    assert run.kept == ["2-0", "2-1"]


def test_of_equals_the_first_is_kept_as_it_is_the_best(tmp_path: Path) -> None:
    run = Run(tmp_path, keep="best", count=2)
    for number in range(12):
        run.tell(number, 0.5)
    best = best_of(run.records, MAX)
    assert best is not None
    assert best.trial.number == 0
    assert run.kept == ["0-0", "1-0"]


def test_a_smaller_count_after_a_resume_takes_away(tmp_path: Path) -> None:
    run = Run(tmp_path, keep="best", count=3)
    for number, value in enumerate([0.1, 0.2, 0.3]):
        run.tell(number, value)
    run.options["count"] = 1
    run.resume()
    run.tell(3, 0.05)
    assert run.kept == ["2-0"]


def test_a_resume_leaves_the_weights_of_trials_in_flight(tmp_path: Path) -> None:
    run = Run(tmp_path, keep="best")
    run.tell(0, 0.5)
    run.save(1)
    run.resume()
    run.store.keep_best(run.records, MAX)
    assert run.kept == ["0-0", "1-0"]
    run.tell(1, 0.6)
    assert run.kept == ["1-0"]


def test_all_keeps_every_trial(tmp_path: Path) -> None:
    run = Run(tmp_path, keep="all")
    for number, value in enumerate([0.5, 0.9, 0.1]):
        run.tell(number, value)
    assert run.kept == ["0-0", "1-0", "2-0"]


def test_none_keeps_nothing(tmp_path: Path) -> None:
    run = Run(tmp_path, keep="none")
    assert run.store.target(0, 0) is None
    run.tell(0, 0.5)
    assert run.kept == []


def test_failed_and_reused_trials_have_no_weights(tmp_path: Path) -> None:
    run = Run(tmp_path, keep="best")
    run.tell(0, None)
    run.tell(1, 0.5)
    run.tell(2, 0.5, reuse_of=1)
    run.tell(3, None)
    assert run.kept == ["1-0"]


@pytest.mark.parametrize("keep", ["best", "all"])
@pytest.mark.parametrize("resumed", [False, True])
def test_the_limit_takes_the_lowest_ranked(tmp_path: Path, keep: str, resumed: bool) -> None:
    run = Run(tmp_path, keep=keep, count=10, limit_mb=0.0035)
    for number, value in enumerate([0.5, 0.9, 0.1, 0.7]):
        run.tell(number, value)
    if resumed:
        run.resume()
    assert run.kept == ["0-0", "1-0", "3-0"]
    run.tell(4, 0.8)
    assert run.kept == ["1-0", "3-0", "4-0"]
    run.tell(5, 0.6, size=2000)
    assert run.kept == ["1-0", "3-0", "4-0"]


def test_the_limit_never_takes_the_best(tmp_path: Path) -> None:
    run = Run(tmp_path, keep="all", limit_mb=0.0001)
    for number, value in enumerate([0.5, 0.9, 0.1]):
        run.tell(number, value)
    assert run.kept == ["1-0"]


def test_nothing_told_deletes_nothing(tmp_path: Path) -> None:
    run = Run(tmp_path, keep="best")
    run.save(0)
    run.store.keep_best({}, MAX)
    assert run.kept == ["0-0"]


def test_what_is_needed_stays_until_it_is_not(tmp_path: Path) -> None:
    run = Run(tmp_path, keep="best")
    for number, (value, needed) in enumerate([(0.5, {0}), (0.9, {0, 1}), (0.1, {0, 2}), (0.3, {3})]):
        run.tell(number, value, needed=needed)
    assert run.kept == ["1-0", "3-0"]
    run.resume()
    run.store.keep_best(run.records, MAX, {3})
    assert run.kept == ["1-0", "3-0"]
    run.store.keep_best(run.records, MAX)
    assert run.kept == ["1-0"]


def test_the_limit_takes_nothing_that_is_needed(tmp_path: Path) -> None:
    run = Run(tmp_path, keep="all", limit_mb=0.0025)
    for number, value in enumerate([0.1, 0.9, 0.5, 0.7]):
        run.tell(number, value, needed={0})
    assert run.kept == ["0-0", "1-0"]


def test_none_keeps_what_a_search_goes_on_from_until_its_end(tmp_path: Path) -> None:
    run = Run(tmp_path, keep="none", uses_checkpoints=True)
    for number, (value, needed) in enumerate([(0.5, {0}), (0.9, {0}), (0.1, {0, 2})]):
        run.tell(number, value, needed=needed)
    assert run.kept == ["0-0", "2-0"]
    run.store.clear()
    assert not (tmp_path / FOLDER).exists()


@pytest.mark.parametrize("keep", ["best", "all"])
def test_the_end_clears_nothing_that_is_to_be_kept(tmp_path: Path, keep: str) -> None:
    run = Run(tmp_path, keep=keep, uses_checkpoints=True)
    run.tell(0, 0.5)
    run.store.clear()
    assert run.kept == ["0-0"]


def test_a_resume_clears_what_was_half_written(tmp_path: Path) -> None:
    run = Run(tmp_path, keep="all")
    run.tell(0, 0.5)
    (tmp_path / FOLDER / ".1-0.zip.tmp").write_bytes(b"half")
    run.resume()
    run.store.keep_best(run.records, MAX)
    assert run.kept == ["0-0"]


def test_averaging(tmp_path: Path) -> None:
    first = {"weight": torch.tensor([1.0, 3.0]), "count": torch.tensor(7)}
    second = {"weight": torch.tensor([3.0, 5.0]), "count": torch.tensor(9)}
    mean = averaged([first, second, second])
    assert torch.allclose(mean["weight"], torch.tensor([7 / 3, 13 / 3]))
    assert mean["count"] == 7


@pytest.mark.parametrize(
    ("warm_start", "parent", "expected"),
    [("none", 3, None), ("continue", None, None), ("continue", 3, "3-1"), ("inherit", 3, "3-1")],
)
def test_source_of_a_warm_start(
    tmp_path: Path, warm_start: WarmStart, parent: int | None, expected: str | None
) -> None:
    store = CheckpointStore(tmp_path, "all")
    source = store.source(Proposal((1,), parent=parent, warm_start=warm_start), 1)
    assert source == (expected and store.target(3, 1))


def test_files_are_in_the_order_of_the_repeats(tmp_path: Path) -> None:
    run = Run(tmp_path, keep="all")
    run.save(1, repeats=12)
    run.save(11)
    assert [path.stem for path in run.store.files(1)] == [f"1-{repeat}" for repeat in range(12)]


def tensors() -> dict[str, torch.Tensor]:
    return {
        "weight": torch.randn(3, 2, 3, 3).to(memory_format=torch.channels_last),
        "strided": torch.randn(4, 6)[:, ::2],
        "count": torch.tensor(7),
    }


def test_weights_come_back(tmp_path: Path) -> None:
    weights = tensors()
    save_weights(tmp_path / "new" / "x.safetensors", weights, {"epochs": "3"})
    loaded = load_weights(tmp_path / "new" / "x.safetensors")
    assert set(loaded) == set(weights)
    assert all(torch.equal(loaded[name], tensor) for name, tensor in weights.items())
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["x.safetensors"]


def test_a_write_that_fails_leaves_the_old_weights_and_no_temporary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.safetensors"
    save_weights(path, {"old": torch.ones(2)})

    def full(target: Path, data: bytes) -> None:
        target.write_text("half")
        assert set(load_weights(path)) == {"old"}  # a reader at this moment sees the old file
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        save_weights(path, {"new": torch.ones(2)})
    assert set(load_weights(path)) == {"old"}
    assert [file.name for file in tmp_path.iterdir()] == ["x.safetensors"]


class Malicious:
    """A pickle that writes a file when it is loaded."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.write_text, (self.target, "run")


@pytest.mark.parametrize("form", ["pickle", "torch"])
def test_a_pickle_by_the_name_of_weights_is_refused_and_not_run(tmp_path: Path, form: str) -> None:
    path, trace = tmp_path / "x.safetensors", tmp_path / "trace"
    if form == "pickle":
        path.write_bytes(pickle.dumps(Malicious(trace)))
    else:
        torch.save(Malicious(trace), path)
    with pytest.raises(SafetensorError):
        load_weights(path)
    assert not trace.exists()
    if form == "pickle":  # it would have worked on a reader of pickles
        pickle.loads(path.read_bytes())
        assert trace.exists()


def test_a_file_cut_short_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_weights(path, tensors())
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(SafetensorError):
        load_weights(path)


def test_inherit_counts_what_it_copied() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    given = {"0.weight": torch.ones(4, 3), "0.bias": torch.ones(5), "1.bias": torch.ones(2), "other": torch.ones(1)}
    assert inherit(model, given) == 2
    after = model.state_dict()
    assert torch.equal(after["0.weight"], given["0.weight"])
    assert torch.equal(after["1.bias"], given["1.bias"])
    assert torch.equal(after["0.bias"], before["0.bias"])
    assert torch.equal(after["1.weight"], before["1.weight"])

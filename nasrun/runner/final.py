"""The winner's final training, and its only evaluation on the test set."""

import shutil
from collections.abc import Mapping, Sequence
from math import ceil
from pathlib import Path
from typing import Any

from nasrun.checkpoints.archive import read_info
from nasrun.checkpoints.store import CheckpointStore
from nasrun.config.build import Setup
from nasrun.core import Genome, Job, SharedEvaluator, Trial, seeding
from nasrun.core.options import first_line
from nasrun.core.words import counted
from nasrun.hardware.measuring import final_result
from nasrun.runner.errors import RunError
from nasrun.runner.search import Search
from nasrun.runner.time_budget import TimeBudget
from nasrun.storage.events import FinalTested, SegmentBegun
from nasrun.storage.journal import Journal
from nasrun.storage.records import Observer, RunRecords, TrialRecord
from nasrun.strategies.timed.strategy import epochs_within

SEGMENT = 0.25
"""Length of the next segment, as a share of the remaining epochs."""
START = "after_{}_epochs.safetensors"
"""The weights from which a winner's training is continued, kept meanwhile."""
KEPT = 2
"""Number of segments' archives on disk."""


class Final:
    """The steps after the search: trains and tests the winner, unless the journal already holds that.

    If it does, and the config now asks for more epochs, the winner's training is continued from its weights.
    """

    def __init__(
        self, setup: Setup, directory: Path, search: Search, checkpoints: CheckpointStore, log: Journal
    ) -> None:
        self._setup, self._directory, self._search = setup, directory, search
        self._checkpoints, self._log = checkpoints, log

    def run(self, run: RunRecords, console: Observer, budget: TimeBudget | None = None) -> None:
        """Train, test, and record the result. `run`: what the journal held when the search began or was resumed;
        `budget`: the remaining time budget. RunError if it fails."""
        # First, because later steps, such as a baseline, are trained with these threads too.
        self._setup.evaluator.use_threads(None)
        told, best = len(self._search.records), self._search.winner
        done = run.final if run.final is not None and run.final.told == told else None
        if done is not None and self._is_asked_for_now(done):
            done = None
        behind = 0 if done is None else self._epochs_to_go_on_from(done)
        if best is None or (done is not None and not behind):
            Segments.clear(self._directory)
            for start in self._directory.glob(f"best/{START.format('*')}"):
                start.unlink()
            return
        job = self._job(best)
        console.on_final_training(best, self._setup.evaluator.final_step)
        try:
            if behind:
                result = self._longer(job, behind)
            elif budget is None:
                result = final_result(self._setup.evaluator, job)
            else:
                result = Segments(self._setup, self._directory, self._log, budget).run(job, tuple(run.segments))
        except OSError:
            raise
        except Exception as error:
            raise RunError(f"the winner's final training failed: {first_line(error)}") from error
        # Names the network if the strategy chose it, not the objective.
        chosen = self._setup.strategy.selected_trial() is not None
        epochs = self._setup.evaluator.final_epochs
        length = {"final_epochs": epochs} if budget is None and epochs is not None else {}
        result = {**result, **({} if budget is None else budget.outcome()), **length}
        self._log.append(FinalTested(trial=best.trial.number, told=told, chosen=chosen, result=result), fsync=True)
        if budget is not None:
            Segments.clear(self._directory)
        if behind:
            self._start_of(behind).unlink()

    def _is_asked_for_now(self, done: FinalTested) -> bool:
        """Whether there was no final training, and the config now asks for one."""
        return self._setup.evaluator.final_epochs is not None and not done.trained_for and "clock" not in done.result

    def _epochs_to_go_on_from(self, done: FinalTested) -> int:
        """Epochs of a recorded final training if more are asked for now; else 0."""
        wanted, trained = self._setup.evaluator.final_epochs, done.trained_for
        return trained if wanted is not None and 0 < trained < wanted and "clock" not in done.result else 0

    def _longer(self, job: Job, behind: int) -> Mapping[str, Any]:
        """Continue the winner's training from its weights, which are kept until the result is recorded."""
        assert job.save_to is not None
        start, weights = self._start_of(behind), Path(job.save_to)
        if not start.is_file():
            temporary = start.with_name(f".{start.name}.tmp")
            shutil.copyfile(weights, temporary)
            temporary.replace(start)
        seed = seeding.integer(self._setup.options.seed, seeding.Purpose.FINAL, behind)
        return self._setup.evaluator.train_longer(job._replace(seed=seed, load_from=str(start)), behind)

    def _start_of(self, behind: int) -> Path:
        return self._directory / "best" / START.format(behind)

    def _job(self, best: TrialRecord) -> Job:
        """The job of the final training: the network, the search's checkpoint to continue from, the file for its
        weights."""
        proposal = best.trial.proposal
        number = proposal.reuse_of if proposal.reuse_of is not None else best.trial.number
        objective = self._setup.objective
        ranked = sorted((m for m in best.measurements if m.status == "ok"), key=lambda m: -objective.score([m]))
        source = self._checkpoints.path(number, ranked[0].repeat)
        return Job(
            Trial(number, proposal),
            ranked[0].repeat,
            seeding.integer(self._setup.options.seed, seeding.Purpose.FINAL),
            str(source) if source.is_file() else None,
            str(self._directory / "best" / "model.safetensors") if self._has_weights else None,
        )

    @property
    def _has_weights(self) -> bool:
        """Whether the evaluator provides the winner's weights at the end."""
        return self._setup.evaluator.saves or isinstance(self._setup.evaluator, SharedEvaluator)


class Segments:
    """A final training within a time budget, in segments.

    The first segment continues from the checkpoint of the search. Before each segment, the total number of epochs is
    computed from the speed of the last one and the remaining time, and recorded in the event `segment`; then the
    segment is trained and its archive written. A killed run resumes after the last archive, and follows the record. The
    segments do not change the result: one training run with the same schedule gives the same weights.
    """

    FOLDER = "final"

    def __init__(self, setup: Setup, directory: Path, log: Journal, budget: TimeBudget) -> None:
        self._setup, self._directory, self._log, self._budget = setup, directory, log, budget
        self._speed = self._expected = 0.0
        """Seconds per epoch in the last segment, and the seconds expected."""

    def run(self, job: Job, recorded: Sequence[SegmentBegun]) -> Mapping[str, Any]:
        """Train from a job's checkpoint until the time is up, and test; returns the result of `Evaluator.test`.

        `recorded`: the segments that the journal holds.
        """
        # If there is an archive, all segments before it are done.
        number = max((one.number for one in recorded if self._path(one.number).is_file()), default=0)
        told = [self._told(segment, recorded) for segment in range(1, number + 1)]
        epochs, horizon = self._epochs_of(job), None
        if number:
            epochs, horizon = recorded[number - 1].epochs, recorded[number - 1].horizon
        pending, genome = list(recorded[number:]), job.trial.proposal.genome
        self._speed = self._expected = self._budget.final_epoch_seconds(genome)
        while horizon is None or epochs < horizon:
            segment = pending.pop(0) if pending else self._decide(number, epochs, genome, told)
            if segment.epochs == epochs:  # the time is up before its horizon
                break
            before = self._budget.clock.spent
            told.append(self._train(job, segment))
            taken, work = self._budget.clock.spent - before, self._setup.evaluator.work
            done = work(segment.epochs, segment.horizon) - work(epochs, segment.horizon)
            self._speed = taken / done if taken > 0 else self._speed
            number, epochs, horizon = segment.number, segment.epochs, segment.horizon
        result = self._setup.evaluator.test(
            job._replace(load_from=str(self._path(number)) if number else job.load_from)
        )
        images = job.trial.proposal.hparams.get("epoch_images")
        data = self._setup.evaluator.final_data
        images = f" of {counted(images, 'image')}" if images else ""
        return {
            **result,
            "history": [row for one in told for row in one["history"]],
            "seconds": sum(one["seconds"] for one in told) + result["seconds"],
            "trained_on": f"{counted(epochs, 'epoch')}{images}, the search's included, on {data}",
        }

    def _decide(self, number: int, epochs: int, genome: Genome, told: Sequence[Mapping[str, Any]]) -> SegmentBegun:
        """Decide on the segment after `number`, and record it with the result of the last one; 0 epochs if no time is
        left."""
        threads = self._threads(genome)
        work, left = self._setup.evaluator.work, max(0.0, self._budget.left / self._speed)
        horizon = epochs_within(left, lambda until: work(until, until) - work(min(epochs, until), until))
        horizon = max(horizon, epochs, 1)
        segment = SegmentBegun(
            number=number + 1,
            epochs=epochs + ceil((horizon - epochs) * SEGMENT),
            horizon=horizon,
            last=dict(told[-1]) if told else None,
            threads=threads,
            spent=self._budget.clock.spent,
        )
        self._log.append(segment, fsync=True)
        return segment

    def _threads(self, genome: Genome) -> int | None:
        """Number of threads of the next segment; if it was chosen anew, the expected speed is updated too."""
        slower, seconds = self._speed / self._expected, self._budget.left * SEGMENT
        threads, speed = self._budget.segment_threads(genome, slower, seconds)
        if speed is not None:
            self._speed = self._expected = speed
        return threads

    def _told(self, number: int, recorded: Sequence[SegmentBegun]) -> Mapping[str, Any]:
        """The result of an earlier segment: from the event of the next one, or else from its archive, without times."""
        if number < len(recorded):
            last = recorded[number].last
            assert last is not None
            return last
        return {"history": list(read_info(self._path(number)).history), "seconds": 0.0}

    def _train(self, job: Job, segment: SegmentBegun) -> Mapping[str, Any]:
        """Train one segment."""
        if segment.threads is not None:
            self._setup.evaluator.use_threads(segment.threads)
        number, proposal = segment.number, job.trial.proposal
        source = str(self._path(number - 1)) if number > 1 else job.load_from
        goes_on = proposal._replace(budget=segment.epochs, horizon=segment.horizon, warm_start="continue", partners=())
        result = self._setup.evaluator.train_on(
            Job(
                Trial(job.trial.number, goes_on),
                job.repeat,
                job.seed,
                source,
                str(self._path(number)),
                resumable=True,
            )
        )
        if number > KEPT:
            self._path(number - KEPT).unlink(missing_ok=True)
        return result

    def _epochs_of(self, job: Job) -> int:
        """Epochs of a job's checkpoint."""
        return (job.trial.proposal.budget or 0) if job.load_from is not None else 0

    def _path(self, number: int) -> Path:
        return self._directory / self.FOLDER / f"{number}.zip"

    @classmethod
    def clear(cls, directory: Path) -> None:
        """Delete the archives: the winner's file has the weights of the last one."""
        folder = directory / cls.FOLDER
        if folder.is_dir():
            for path in folder.glob("*.zip"):
                path.unlink(missing_ok=True)
            for path in folder.glob(".*.tmp"):
                path.unlink(missing_ok=True)
            if not any(folder.iterdir()):
                folder.rmdir()

"""Tracker `tensorboard`: event files in the run directory. Needs tensorboard (`nasrun[tensorboard]`)."""

import importlib
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from nasrun.core.options import AtLeast
from nasrun.trackers.base import TrackedRun, TrackedTrial, Tracker, require

FOLDER = "tensorboard"
FLUSH_SECONDS = 5


class TensorBoard(Tracker):
    """Writes scalars of every trial, the best genome as text, plots at the end, and some trials in detail.

    The run is one TensorBoard run whose steps are the trials. Detailed trials are separate TensorBoard runs
    (`trial_00012`) with learning curves by epoch and settings for the HPARAMS page. As each needs a file, only the
    first `detailed` trials and every new best are included. A resumed run is written again with the times of the
    journal, so that each trial appears once.
    """

    def __init__(self, *, detailed: Annotated[int, AtLeast(0)] | None = 200) -> None:
        require("tensorboard", "tensorboard")
        self.detailed = float("inf") if detailed is None else detailed
        self._folder = Path()
        self._writer: Any = None

    def begin(self, run: TrackedRun, trials: Sequence[TrackedTrial]) -> None:
        self._folder = run.directory / FOLDER
        if self._folder.exists():
            shutil.rmtree(self._folder)
        self._writer = self._open(self._folder)
        rows = [f"| {name} | {value} |" for name, value in {**run.tags, **run.config}.items()]
        self._writer.add_text("run/config", "\n".join(["| key | value |", "|---|---|", *rows]), 0, run.started)
        self.log(trials)

    def log(self, trials: Sequence[TrackedTrial]) -> None:
        for trial in trials:
            for name, value in trial.values.items():
                self._writer.add_scalar(name, value, trial.number, trial.time)
            if trial.improved:
                self._writer.add_text("best/genome", f"`{trial.genome}`", trial.number, trial.time)
            if trial.improved or trial.number < self.detailed:
                self._in_full(trial)

    def finish(self, summary: Mapping[str, Any]) -> None:
        from matplotlib.image import imread

        last = max(summary["trials"] - 1, 0)
        for name, value in summary["final"].items():
            if isinstance(value, int | float):
                self._writer.add_scalar(f"final/{name}", value, last)
        for picture in sorted((self._folder.parent / "plots").glob("*.png")):
            self._writer.add_image(f"plots/{picture.stem}", imread(picture), last, dataformats="HWC")

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _open(self, folder: Path) -> Any:
        module = importlib.import_module("torch.utils.tensorboard")
        return module.SummaryWriter(str(folder), flush_secs=FLUSH_SECONDS)

    def _in_full(self, trial: TrackedTrial) -> None:
        """Write a TensorBoard run for one trial: its settings, numbers, and learning curves."""
        summaries = importlib.import_module("torch.utils.tensorboard.summary")
        settings = {**trial.settings, "genome": trial.genome}
        numbers = {name: value for name, value in trial.values.items() if name.startswith("trial/")}
        # Without an experiment summary, TensorBoard creates one from all trials, even if their settings differ.
        _, begun, ended = summaries.hparams(settings, numbers)
        writer = self._open(self._folder / f"trial_{trial.number:05d}")
        try:
            writer.file_writer.add_summary(begun, walltime=trial.time)
            for name, value in numbers.items():
                writer.add_scalar(name, value, trial.number, trial.time)
            for measurement in trial.record.measurements:
                suffix = f"/repeat_{measurement.repeat}" if len(trial.record.measurements) > 1 else ""
                for place, row in enumerate(measurement.history, 1):
                    epoch = int(row.get("epoch", place))
                    for name in sorted(row.keys() - {"epoch"}):
                        writer.add_scalar(f"epoch/{name}{suffix}", row[name], epoch, trial.time)
            writer.file_writer.add_summary(ended, walltime=trial.time)
        finally:
            writer.close()

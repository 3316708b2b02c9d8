"""Tracker `wandb`: files of Weights & Biases in offline mode. Needs wandb (`nasrun[wandb]`)."""

import contextlib
import importlib
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from nasrun.core.options import NotEmpty
from nasrun.core.telemetry import switch_off_telemetry
from nasrun.trackers.base import FILES, TrackedRun, TrackedTrial, Tracker, require

FOLDER, CACHE = "wandb", "cache"
LONGEST_GROUP, LONGEST_TAG = 128, 64
START_SECONDS = 60


class WandB(Tracker):
    """Writes a run as a W&B run in the folder `wandb` of the run directory, with the sweep as its group.

    Nothing is uploaded; use `wandb sync DIR/wandb/offline-run-*`. W&B's own process writes the file and ends with the
    run, even a killed one. An offline run cannot be continued, so a resumed run is written again under the same id:
    each trial appears once.
    """

    def __init__(self, *, project: Annotated[str, NotEmpty()] = "nasrun") -> None:
        """ValueError: invalid project name. ConfigError: W&B is not installed."""
        wrong = sorted(set("/\\#?%:") & set(project))
        if wrong or len(project) > LONGEST_GROUP:
            reason = f"{' '.join(wrong)} cannot be part of it" if wrong else f"at most {LONGEST_GROUP} characters"
            raise ValueError(f"project={project}: {reason}; expected a short name")
        require("wandb", "wandb")
        self._project = project
        self._module: Any = None
        self._logged: Any = None
        self._run: TrackedRun
        self._code = 1

    def begin(self, run: TrackedRun, trials: Sequence[TrackedTrial]) -> None:
        self._run = run
        folder = run.directory / FOLDER
        if folder.exists():
            shutil.rmtree(folder)
        with _own_environment(folder), _hooks_restored():
            self._module = importlib.import_module("wandb")
            self._logged = self._module.init(
                project=self._project,
                id=run.id,
                name=run.name,
                group=None if run.sweep is None else run.sweep[-LONGEST_GROUP:],
                tags=[f"{name}={value}"[:LONGEST_TAG] for name, value in run.tags.items() if name != "sweep"],
                dir=str(run.directory),
                config={**run.config, "nasrun": run.tags},
                settings=self._settings(),
            )
        self._logged.define_metric("trial")
        self._logged.define_metric("*", step_metric="trial")
        self.log(trials)

    def log(self, trials: Sequence[TrackedTrial]) -> None:
        for trial in trials:
            row = {"trial": trial.number, **trial.values, "time": trial.time, "genome": trial.genome}
            self._logged.log(row)

    def finish(self, summary: Mapping[str, Any]) -> None:
        kept = Path(self._logged.dir)
        sources = [self._run.directory / name for name in FILES]
        sources += sorted((self._run.directory / "best").glob("*"))
        for source in (path for path in sources if path.is_file()):
            # A copy, because `save` would create a link to it.
            target = kept / source.relative_to(self._run.directory)
            target.parent.mkdir(exist_ok=True)
            shutil.copyfile(source, target)
            self._logged.save(str(target), base_path=str(kept), policy="now")
        pictures = sorted((self._run.directory / "plots").glob("*.png"))
        if pictures:
            self._logged.log({f"plots/{path.stem}": self._module.Image(str(path)) for path in pictures})
        best = summary["best"]
        if best is not None:
            self._logged.summary.update({"best/trial": best["trial"], "best/genome": best["genome"]})
        final = {f"final/{name}": value for name, value in summary["final"].items() if isinstance(value, int | float)}
        self._logged.summary.update(final)
        self._code = 0

    def close(self) -> None:
        if self._module is None:
            return
        try:
            if self._logged is not None:
                self._logged.finish(exit_code=self._code)
        finally:
            self._module.teardown()
            # The log of W&B's process, and the link to it.
            folder = self._run.directory / FOLDER
            for link in [path for path in folder.glob("offline-run-*/logs/*") if path.is_symlink()]:
                link.unlink()
            shutil.rmtree(folder / CACHE, ignore_errors=True)

    def _settings(self) -> Any:
        """Settings: offline, silent, recording only logged values, neither the machine nor the code."""
        return self._module.Settings(
            mode="offline",
            silent=True,
            console="off",
            symlink=False,
            disable_git=True,
            disable_code=True,
            save_code=False,
            disable_job_creation=True,
            init_timeout=START_SECONDS,
            x_disable_stats=True,
            x_disable_meta=True,
            x_disable_machine_info=True,
            x_save_requirements=False,
        )


@contextlib.contextmanager
def _own_environment(folder: Path) -> Iterator[None]:
    """A scope in which W&B ignores external settings, and its process writes only to `folder`."""
    before = _take_out()
    try:
        switch_off_telemetry()  # W&B's switch was one of the removed variables
        for name in ("WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR"):
            os.environ[name] = str(folder.absolute() / CACHE)
        yield
    finally:
        _take_out()
        os.environ.update(before)


def _take_out() -> dict[str, str]:
    """Remove W&B's variables from the environment and return their values."""
    return {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("WANDB_")}


@contextlib.contextmanager
def _hooks_restored() -> Iterator[None]:
    """A scope that restores the interpreter's exit hooks."""
    before = sys.exit, sys.excepthook
    try:
        yield
    finally:
        sys.exit, sys.excepthook = before  # type: ignore[assignment]

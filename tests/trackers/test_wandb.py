"""What is in the file that W&B would send."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("wandb", reason="checked by the contract test: refused in one line")

from tests.trackers.reading import wandb_records


def test_a_sweep_is_a_group_and_its_runs_are_tagged(nasrun_inprocess: Callable[[str], Any], tmp_path: Path) -> None:
    done = nasrun_inprocess(
        "-m tracker=wandb seed=5,6 strategy=random evaluator=synthetic dataset=synthetic trials=3 "
        "output.plots=true output.console=none hydra.sweep.dir=day/sweep"
    )
    assert (done.returncode, done.stderr) == (0, "")
    names = set()
    for job, seed in enumerate((5, 6)):
        directory = tmp_path / "day" / "sweep" / f"{job}_random_synthetic_seed{seed}"
        records = list(wandb_records(directory))
        (run,) = [record.run for record in records if record.WhichOneof("record_type") == "run"]
        assert (run.run_group, run.project, run.display_name) == ("day/sweep", "nasrun", directory.name)
        assert set(run.tags) == {"strategy=random", f"seed={seed}", f"job={job}"}
        config = {item.key: json.loads(item.value_json) for item in run.config.update}
        assert config["seed"] == seed
        names.add(run.run_id)
        (ending,) = [record.exit for record in records if record.WhichOneof("record_type") == "exit"]
        assert ending.exit_code == 0
        kept = next((directory / "wandb").glob("offline-run-*/files"))
        assert (kept / "trials.csv").read_bytes() == (directory / "trials.csv").read_bytes()
        assert len(list((kept / "media").rglob("*.png"))) == len(list((directory / "plots").glob("*.png"))) > 0
        listed = {file.path for record in records for file in record.files.files}
        assert {"trials.csv", "best.json"} <= listed
    assert len(names) == 2

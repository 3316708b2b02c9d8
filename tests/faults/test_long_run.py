"""A long run uses no more resources at its end than at its start, except for the records of its trials."""

from pathlib import Path

import pytest

from tests.runner.test_crash import script

RECORD_KILOBYTES = 3.0
"""What a trial may add: its record holds its genome, metrics and history."""


@pytest.mark.parametrize(("kind", "workers"), [("synthetic", 1), ("table", 1), ("synthetic", 2)])
def test_memory_descriptors_and_processes_stay_flat(kind: str, workers: int, tmp_path: Path) -> None:
    campaign = script("long_run")
    words = [*campaign.KINDS[kind], *campaign.EVOLUTION, "trials=1500", f"hardware.workers={workers}"]
    samples = campaign.long_run(tmp_path / "run", words, 250)
    # With its last trial a run begins to write its tables and to end its workers.
    first, *_, last = [sample for sample in samples if sample.trials < 1500]
    assert last.trials - first.trials > 500, "looked at too seldom to show anything"
    assert (last.descriptors, last.processes) == (first.descriptors, first.processes)
    assert last.kilobytes - first.kilobytes < RECORD_KILOBYTES * (last.trials - first.trials)

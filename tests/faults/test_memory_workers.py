"""A worker that takes too much memory, through the real command: the kernel kills it, and the run goes on.

In a control group with a limit, where the tests may make one (root): the kernel's own killer is at work. Elsewhere
every process of the run gets a limit on its addresses, at which it finds no more memory.
"""

import csv
import os
import resource
import subprocess
import uuid
from pathlib import Path

from nasrun.storage import journal
from tests.faults.scarce import kills, memory_group
from tests.faults.test_hangs import NASRUN, ROOT, WORDS
from tests.hardware.trouble import gone_within

LIMIT, EATEN = 700, 1500
"""MiB: what the run has, and what one of its trials takes; all else needs less than half of the first."""


def test_a_worker_that_takes_all_memory_costs_one_trial(tmp_path: Path) -> None:
    mark = f"nasrun-test-{uuid.uuid4().hex}"
    words = [word for word in WORDS if "time_limit" not in word]
    words += ["+evaluator.eats=[2]", f"+evaluator.megabytes={EATEN}", "hardware.workers=2", "trials=5"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NASRUN_TEST_MARK": mark, "OMP_NUM_THREADS": "1"}
    with memory_group(LIMIT) as group:

        def enter() -> None:
            if group is not None:
                group.write_text(str(os.getpid()))
            else:
                resource.setrlimit(resource.RLIMIT_AS, (LIMIT * 2**20, LIMIT * 2**20))

        done = subprocess.run(
            [NASRUN, *words, "hydra.run.dir=run"],
            cwd=tmp_path,
            env=environment,
            preexec_fn=enter,
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )
        killed = None if group is None else kills(group)
    assert (done.returncode, done.stderr) == (0, "")
    with (tmp_path / "run" / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["status"] for row in rows] == ["ok", "ok", "failed", "ok", "ok"]
    if killed is None:
        assert rows[2]["error"] == "MemoryError"
    else:
        assert killed == 2  # the job was given a second worker, in case the first had bad luck
        assert rows[2]["error"] == "worker killed: its process ended while it evaluated this, twice (out of memory?)"
    kinds = [event["event"] for event in journal.read(tmp_path / "run" / journal.NAME)]
    assert kinds.count("tell") == 5
    assert kinds[-1] == "end"
    assert gone_within(10, mark)

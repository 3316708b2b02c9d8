"""A real Ray cluster of two hosts with a network between them, which fails; more of it: scripts/bench_ray_faults.py."""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nasrun.storage import journal
from tests.hardware.test_worker_runs import NASRUN, results
from tests.runner.test_crash import script

REASON = script("ray_hosts").missing()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(REASON is not None, reason=f"no hosts as network namespaces: {REASON}"),
]


SEARCH = (
    *("strategy=aging_evolution", "strategy.population=6", "strategy.sample=3", "trials=40", "output.plots=false"),
    *("evaluator=synthetic", "dataset=synthetic", "hardware.in_flight=4", "hardware.threads=1", "output.console=none"),
)


@pytest.fixture
def cluster() -> Iterator[Any]:
    """A head, which the runner is on, and a host with two processors."""
    with script("ray_hosts").hosts(2) as made:
        made.start_head(cpus=0)
        made.start_node(made.all[1], cpus=2)
        yield made


def test_a_host_that_is_cut_off_for_a_while_makes_no_difference(cluster: Any, tmp_path: Path) -> None:
    alone, directory, far = tmp_path / "alone", tmp_path / "run", cluster.all[1]
    subprocess.run([NASRUN, *SEARCH, "hardware=cpu", f"hydra.run.dir={alone}"], check=True)
    where = ("hardware=ray", f"hardware.address={cluster.address}", "evaluator.delay=0.5", f"hydra.run.dir={directory}")
    environment = {**os.environ, **script("ray_hosts").QUIET}
    process = cluster.head.open(str(NASRUN), *SEARCH, *where, env=environment, stderr=subprocess.PIPE)
    while measured(directory) < 4:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)
    far.cut()
    time.sleep(1)
    before = measured(directory)
    time.sleep(3)
    assert measured(directory) == before < 40, "the host was not cut off"
    far.join()
    _, error = process.communicate()
    assert (process.returncode, error) == (0, "")
    assert results(directory) == results(alone)
    received, sent = far.traffic()
    assert min(received, sent) > 1000


def measured(directory: Path) -> int:
    """Measurements of a run so far."""
    path = directory / journal.NAME
    return path.read_text().count('"event":"measure"') if path.is_file() else 0

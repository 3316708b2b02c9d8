"""A real Ray cluster of two hosts with a network between them, which fails; more of it: scripts/bench_ray_faults.py."""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.hardware.test_ray_runs import alone, command  # noqa: F401 (a fixture)
from tests.hardware.test_worker_runs import results
from tests.runner.test_crash import script

REASON = script("ray_hosts").missing()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(REASON is not None, reason=f"no hosts as network namespaces: {REASON}"),
]


@pytest.fixture
def cluster() -> Iterator[Any]:
    """A head, which the runner is on, and a host with two processors."""
    with script("ray_hosts").hosts(2) as made:
        made.start_head(cpus=0)
        made.start_node(made.all[1], cpus=2)
        yield made


def test_a_host_that_is_cut_off_for_a_while_makes_no_difference(
    alone: Path,  # noqa: F811
    cluster: Any,
    tmp_path: Path,
) -> None:
    directory, far = tmp_path / "run", cluster.all[1]
    words = command(directory, "hardware=ray", f"hardware.address={cluster.address}", "output.console=none")
    environment = {**os.environ, **script("ray_hosts").QUIET}
    process = cluster.head.open(*words, env=environment, stderr=subprocess.PIPE)
    while not (directory / "journal.jsonl").is_file() or '"measure"' not in (directory / "journal.jsonl").read_text():
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)
    far.cut()
    time.sleep(2)
    before = (directory / "journal.jsonl").read_text().count('"measure"')
    time.sleep(2)
    assert (directory / "journal.jsonl").read_text().count('"measure"') == before < 16, "the host was not cut off"
    far.join()
    _, error = process.communicate()
    assert (process.returncode, error) == (0, "")
    assert results(directory) == results(alone)
    received, sent = far.traffic()
    assert min(received, sent) > 1000

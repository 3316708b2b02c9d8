"""Ray's options, and its worker in this process, without a cluster."""

import os
import pickle
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from ray import exceptions

from nasrun.config.build import build
from nasrun.core.environment import describe_processor
from nasrun.core.options import ConfigError
from nasrun.hardware.ray import cluster as ray_cluster
from nasrun.hardware.ray.cluster import RayCluster
from nasrun.hardware.ray.executor import lost_node
from nasrun.hardware.ray.head import Head
from nasrun.hardware.ray.worker import RayWorker
from nasrun.hardware.remote_worker import Place
from nasrun.hardware.worker_messages import BEGUN, DONE, ERROR, NOTICE, PROGRESS, Recipe, WorkerError
from tests.conftest import Answer
from tests.hardware import trouble
from tests.hardware.trouble import jobs
from tests.support import setup_of

HERE = f"{socket.gethostname()}, process {os.getpid()}"
"""Where a worker in this process says that it is."""


def test_a_head_that_is_gone_is_noticed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        head = Head(address, lost=0.5, look=0.02)
        time.sleep(1)
        head.check()
    deadline = time.monotonic() + 30
    while not head.is_lost and time.monotonic() < deadline:
        time.sleep(0.05)
    with pytest.raises(WorkerError, match=f"the head of the Ray cluster .{address}. could not be reached"):
        head.check()
    head.close()


@pytest.mark.parametrize(
    ("text", "lost"),
    [
        ("The actor died because its node has died. Node Id: 1f", True),
        ("the actor's node was terminated unexpectedly: health check failed due to missing too many heartbeats", True),
        ("The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR", False),
    ],
)
def test_a_job_is_not_to_blame_for_the_end_of_its_node(text: str, lost: bool) -> None:
    assert lost_node(exceptions.RayActorError(error_msg=text), exceptions) == lost
    assert lost_node(exceptions.ActorUnavailableError("no answer", None), exceptions)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("hardware.workers=0", "hardware.workers=0: must be at least 1"),
        ("hardware.cpus=0", "hardware.cpus=0: must be above 0"),
        ("hardware.cpus=1.5", "hardware.cpus=1.5: must be a whole number if above 1"),
        ("hardware.gpus=-1", "hardware.gpus=-1: must be at least 0"),
        ("hardware.gpus=1 hardware.device=cpu", "hardware.gpus=1: device=cpu uses none"),
        ("hardware.gpus=0 hardware.device=cuda", "hardware.gpus=0: device=cuda needs some"),
        ("hardware.memory_mb=0", "hardware.memory_mb=0: must be at least 1"),
        ("hardware.address=somewhere", "hardware.address=somewhere: expected auto, host:port or ray://host:port"),
        ("evaluator=supernet search_space=nasbench201", "hardware=ray: evaluator=supernet trains in one process"),
    ],
)
def test_options_that_make_no_sense(words: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        setup_of("hardware=ray", *words.split())
    assert str(caught.value).startswith(message)


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_cluster, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"Ray is not installed; install it: pip install 'nasrun\[ray\]'"):
        setup_of("hardware=ray")


def test_what_a_worker_takes_of_its_node() -> None:
    assert RayCluster(cpus=2).resources(on_gpus=False) == {"num_cpus": 2, "num_gpus": 0}
    assert RayCluster().resources(on_gpus=True) == {"num_cpus": 1, "num_gpus": 1}
    given = RayCluster(gpus=0.5, memory_mb=100).resources(on_gpus=False)
    assert given == {"num_cpus": 1, "num_gpus": 0.5, "memory": 100 * 2**20}


def test_threads_are_the_processors_of_a_worker() -> None:
    assert RayCluster(device="cpu", cpus=3).resolve().threads == 3
    assert RayCluster(device="cpu", cpus=0.5).resolve().threads == 1
    assert RayCluster(device="cpu", cpus=3, threads=1).resolve().threads == 1
    assert RayCluster(gpus=0).resolve().device == "cpu"


def test_one_worker_is_elsewhere_too() -> None:
    assert RayCluster(workers=1).is_remote
    assert RayCluster(workers=1).trials_in_flight == 1
    assert not setup_of().hardware.is_remote


def test_the_environment_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "mine")
    before = dict(os.environ)
    with ray_cluster.environment({"RAY_AUTH_MODE": "token", "RAY_SOMETHING": "1"}):
        assert os.environ["RAY_AUTH_MODE"] == "mine"
        assert os.environ["RAY_SOMETHING"] == "1"
    assert dict(os.environ) == before


def test_the_folder_of_a_cluster_is_short_and_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "gettempdir", lambda: "/tmp/" + 60 * "x")
    with ray_cluster.short_folder() as name:
        folder = Path(name)
        assert len(name) <= ray_cluster.LONGEST_FOLDER
        (folder / "sockets").mkdir()
        (folder / "sockets" / "raylet").touch()
    assert not folder.exists()


@pytest.fixture
def _place_as_before() -> Iterator[None]:
    folder, paths = Path.cwd(), list(sys.path)
    yield
    os.chdir(folder)
    sys.path[:] = paths


@pytest.mark.usefixtures("_place_as_before")
def test_a_worker_says_what_it_does(tmp_path: Path) -> None:
    worker = RayWorker(Place(str(tmp_path), ["/nowhere"]))
    assert Path.cwd() == tmp_path
    assert sys.path[-1] == "/nowhere"
    recipe = pickle.dumps(Recipe(partial(trouble.make, tmp_path), {}))
    assert worker.set_up(recipe, None) == [(BEGUN, HERE)]
    said = worker.turn(jobs(0, "report"))
    while said[-1][0] != DONE:
        said += worker.turn()
    assert [kind for kind, _ in said] == [PROGRESS] * 3 + [DONE]
    assert [m.status for m in said[-1][1]] == ["ok"]
    assert worker.turn(jobs(1, "raise")) == [(ERROR, "OutputError: a mistake")]


@pytest.mark.usefixtures("_place_as_before")
def test_a_worker_that_does_not_see_the_run_directory(tmp_path: Path) -> None:
    recipe = pickle.dumps(Recipe(partial(trouble.make, tmp_path), {}))
    (tmp_path / "journal.jsonl").write_bytes(b"first\nsecond\n")

    def answer(directory: Path, first_line: bytes) -> tuple[str, str]:
        place = Place(str(tmp_path), [], str(directory), "journal.jsonl", first_line)
        [said] = RayWorker(place).set_up(recipe, None)
        return said

    assert answer(tmp_path, b"first\n")[0] == BEGUN
    for directory, line in ((tmp_path, b"another's\n"), (tmp_path / "not there", b"first\n")):
        kind, text = answer(directory, line)
        assert kind == ERROR
        assert text.startswith(f"{directory}: a node of the Ray cluster (")
        assert text.endswith("put it on a file system that all nodes share, or use output.keep=none")


@pytest.mark.usefixtures("_place_as_before")
def test_a_node_with_another_processor_is_mentioned(tmp_path: Path) -> None:
    recipe = pickle.dumps(Recipe(partial(trouble.make, tmp_path), {}))

    def said(processor: dict[str, str]) -> list[tuple[str, str]]:
        worker = RayWorker(Place(str(tmp_path), [], processor=processor))
        heard = worker.set_up(recipe, None)
        while heard[-1][0] != BEGUN:
            heard += worker.turn()
        return heard

    assert said(describe_processor()) == [(BEGUN, HERE)]
    (kind, text), begun = said({**describe_processor(), "instructions": "abacus"})
    assert (kind, begun) == (NOTICE, (BEGUN, HERE))
    assert text.startswith("a node of the Ray cluster (")
    assert text.endswith(", the runner abacus: results may differ in the last digits between nodes")


def test_the_plan_divides_the_time_among_the_workers(capsys: pytest.CaptureFixture[str]) -> None:
    from nasrun.config.compose import compose_config, task_config
    from nasrun.runner.dry_run import parallel

    def setup(*words: str) -> int:
        words = ("evaluator=synthetic", "dataset=synthetic", *words)
        return parallel(build(task_config(compose_config(words))))

    assert setup() == 1
    assert setup("hardware.workers=2", "hardware.threads=1") == 2
    assert setup("hardware=ray", "hardware.workers=8") == 8
    assert setup("hardware=ray", "hardware.workers=8", "hardware.in_flight=3") == 3
    assert setup("hardware=ray", "hardware.workers=8", "hardware.in_flight=3", "evaluator.repeats=2") == 6


def test_a_cluster_that_is_not_there(nasrun_inprocess: Callable[[str], Answer], tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        for given in (address, f"ray://{address}"):
            answer = nasrun_inprocess(
                f"hardware=ray hardware.address={given} evaluator=synthetic dataset=synthetic hydra.run.dir=run"
            )
            assert (answer.returncode, answer.stdout) == (2, "")
            assert answer.stderr.startswith(f"nasrun: hardware.address={given}: no Ray cluster can be reached (")
            assert len(answer.stderr.splitlines()) == 1
            assert list(tmp_path.iterdir()) == []

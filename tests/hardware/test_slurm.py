"""Workers as SLURM jobs: what is refused, and the connections that they make. No cluster is needed here."""

import contextlib
import os
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nasrun.hardware.remote_worker import Place, describe_versions, set_up
from nasrun.hardware.slurm.jobs import SlurmJobs
from nasrun.hardware.slurm.link import Listener, connect, write_key
from nasrun.hardware.worker_messages import WorkerError
from tests.faults.runs import eventually

KEY = b"k" * 32
Welcomed = list[tuple[socket.socket, int, int]]


@pytest.fixture
def listening() -> Iterator[tuple[Listener, Welcomed]]:
    arrived: Welcomed = []
    listener = Listener("127.0.0.1", KEY, lambda *one: arrived.append(one))
    yield listener, arrived
    listener.close()


def test_who_knows_the_key_is_let_in(listening: tuple[Listener, Welcomed]) -> None:
    listener, arrived = listening
    connection = connect("127.0.0.1", listener.port, KEY, 7, 1)
    eventually(lambda: arrived)
    [(one, worker, purpose)] = arrived
    assert (worker, purpose) == (7, 1)
    connection.send_bytes(b"hello")
    assert one.recv(100).endswith(b"hello")
    one.close()
    with pytest.raises(EOFError):
        connection.recv_bytes()


def test_nobody_else_is(listening: tuple[Listener, Welcomed]) -> None:
    listener, arrived = listening
    with pytest.raises(ValueError, match="does not know the key"):
        connect("127.0.0.1", listener.port, b"x" * 32, 7, 1)
    # What was overheard is worth nothing, and what is sent back to its sender neither.
    with socket.create_connection(("127.0.0.1", listener.port), timeout=60) as mirror:
        nonce = mirror.recv(32)
        mirror.sendall(nonce)
        digest = mirror.recv(32)
        mirror.sendall(digest + bytes(8))
        with contextlib.suppress(ConnectionResetError):
            assert mirror.recv(1) == b""
    with socket.create_connection(("127.0.0.1", listener.port), timeout=60):
        assert connect("127.0.0.1", listener.port, KEY, 8, 0)  # one that says nothing keeps nobody waiting
    eventually(lambda: len(arrived) == 1)
    assert arrived[0][1:] == (8, 0)


def test_a_runner_without_the_key_is_told_nothing() -> None:
    with socket.socket() as false:
        false.bind(("127.0.0.1", 0))
        false.listen()
        kept = []

        def pose() -> None:
            one, _ = false.accept()
            one.sendall(bytes(32) + bytes(32))
            kept.append(one)

        threading.Thread(target=pose, daemon=True).start()
        with pytest.raises(ValueError, match="does not know the key"):
            connect("127.0.0.1", false.getsockname()[1], KEY, 1, 0)


def test_nobody_else_can_read_the_key(tmp_path: Path) -> None:
    write_key(str(tmp_path / "key"), KEY)
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    assert (tmp_path / "key").read_bytes() == KEY
    with pytest.raises(FileExistsError):
        write_key(str(tmp_path / "key"), KEY)


@pytest.mark.parametrize(("name", "reason"), [("torch", "torch"), ("nasrun", "nasrun"), ("Python", "Python")])
def test_a_worker_of_another_version_is_refused_by_name(name: str, reason: str, tmp_path: Path) -> None:
    place = Place(str(tmp_path), [], versions={**describe_versions(), name: "0.0.1"}, cluster="SLURM cluster")
    node = rf"^a node of the SLURM cluster \({os.uname().nodename}\)"
    with pytest.raises(WorkerError, match=rf"{node} has {reason} \S+, the runner 0\.0\.1; install the same there$"):
        set_up(place, b"", lambda kind, content: None, lambda dataset: None)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"workers": 2, "least": 3}, "least=3: must be <= workers=2"),
        ({"device": "cpu", "gpus": 1}, "gpus=1: device=cpu uses none; use gpus=0, or device=cuda"),
        ({"device": "cuda", "gpus": 0}, "gpus=0: device=cuda needs some; use gpus=1"),
        ({"sbatch": {"requeue": True}}, "sbatch.requeue: nasrun sets it itself; leave it out"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=rf"^{reason}$"):
        SlurmJobs(**options)


def test_what_a_job_asks_for() -> None:
    asked = SlurmJobs(cpus=4, memory_mb=2000, partition="gpu", sbatch={"mail_type": "FAIL"}).parameters(on_gpus=True)
    assert asked == {
        "job_name": "nasrun-worker",
        "time": 60,
        "partition": "gpu",
        "cpus_per_task": 4,
        "gpus_per_node": 1,
        "mem": "2000M",
        "additional_parameters": {"no-requeue": True, "mail-type": "FAIL"},
    }


def test_a_machine_without_slurm(nasrun_inprocess: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    answer = nasrun_inprocess("hardware=slurm evaluator=synthetic dataset=synthetic hydra.run.dir=run")
    how = "start the run on a node of the cluster, or use hardware=auto"
    assert answer == (2, "", f"nasrun: hardware=slurm: sbatch was not found; {how}\n")
    assert not (tmp_path / "run").exists()


def test_a_host_that_is_another_machine(
    nasrun_inprocess: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for program in ("sbatch", "scontrol", "scancel"):
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "bin" / program).write_text("#!/bin/sh\nexit 1\n")
        (tmp_path / "bin" / program).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    answer = nasrun_inprocess(
        "hardware=slurm evaluator=synthetic dataset=synthetic hydra.run.dir=run hardware.host=192.0.2.1"
    )
    assert answer.returncode == 2
    assert answer.stderr.startswith("nasrun: hardware.host=192.0.2.1: nothing can listen there (")
    assert not (tmp_path / "run").exists()

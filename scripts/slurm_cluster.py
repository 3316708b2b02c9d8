"""A SLURM cluster of several nodes on this machine: for the tests, and to try nasrun without a cluster.

    python scripts/slurm_cluster.py start FOLDER      # then do what it prints: export SLURM_CONF=FOLDER/slurm.conf
    python scripts/slurm_cluster.py stop FOLDER

Everything is real: controller, nodes, accounting (`sacct`) in its own database, keys by munge. All of it listens on
127.0.0.1 and keeps its files in FOLDER. Debian's packages: slurmctld slurmd slurmdbd slurm-client
slurm-wlm-mysql-plugin munge mariadb-server-core mariadb-client-core. Two partitions, `low` (the default) and `high`,
whose jobs preempt those of `low`: these get SIGTERM, `GRACE` seconds later SIGKILL, and are queued again.
"""

import argparse
import contextlib
import getpass
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "slurmdbd", "sbatch", "sacct", "mariadbd", "mariadb-install-db")
SYSTEM = "/usr/sbin:/usr/bin:/sbin:/bin"
GRACE = 3
"""Seconds between SIGTERM and SIGKILL of a preempted job."""
KILL_WAIT = 3
"""The same for a job that is cancelled, or over its time limit."""
REQUEUE = 20
"""Seconds until a requeued job may start (`cred_expire`; SLURM's default is two minutes)."""
PATIENCE = 60
"""Seconds in which a part answers; SLURM's defaults are 2 and 10, after which a job on a busy machine fails."""
START_SECONDS = 120.0
NODES = ("n1", "n2", "n3")
DATABASE = "accounting"


def missing() -> list[str]:
    """The programs that a cluster needs and this machine lacks."""
    return [name for name in PROGRAMS if shutil.which(name, path=SYSTEM) is None]


class Cluster:
    """A cluster in a folder, whose path must be short because it holds sockets. `conf`: its slurm.conf."""

    def __init__(self, folder: Path, nodes: Sequence[str] = NODES) -> None:
        self.folder, self.nodes = folder.absolute(), tuple(nodes)
        self.conf = self.folder / "slurm.conf"

    def start(self) -> None:
        """Start everything; RuntimeError, with the end of a log, if a part does not start."""
        if absent := missing():
            raise RuntimeError(f"missing on this machine: {', '.join(absent)}; see the top of this file for packages")
        self.folder.mkdir(parents=True, exist_ok=True)
        if any(self.folder.iterdir()):
            raise RuntimeError(f"{self.folder}: is not an empty folder")
        for name in ("state", "data", *(f"spool/{node}" for node in self.nodes)):
            (self.folder / name).mkdir(parents=True)
        key = self.folder / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(secrets.token_bytes(1024))
        self._write_configs(_free_ports(3 + len(self.nodes)))
        self._munge()
        self._accounting()
        self._daemon("slurmctld", "-D", "-i")
        for node in self.nodes:
            self._daemon("slurmd", "-D", "-N", node, log=node)
        self._until("nodes", lambda: self.run("sinfo", "-h", "-t", "idle", "-o", "%D").strip() == str(len(self.nodes)))

    def stop(self) -> None:
        """End everything, including jobs."""
        with contextlib.suppress(subprocess.CalledProcessError):
            self.run("scancel", "--user", getpass.getuser(), "--signal=KILL", "--full")
            self.run("scancel", "--user", getpass.getuser())
        for name in [*(f"{node}.pid" for node in self.nodes), "slurmctld.pid", "slurmdbd.pid", "mariadbd.pid"]:
            _end(self.folder / name)
        _end(self.folder / "munged.pid")

    def run(self, *words: str) -> str:
        """The output of a SLURM command; CalledProcessError if it fails."""
        done = subprocess.run(words, env=self.environment, capture_output=True, text=True, check=True, timeout=120)
        return done.stdout

    @property
    def environment(self) -> dict[str, str]:
        """The environment in which commands use this cluster."""
        return {**os.environ, "SLURM_CONF": str(self.conf), "PATH": f"{os.environ.get('PATH', '')}:{SYSTEM}"}

    def _daemon(self, program: str, *words: str, log: str | None = None) -> None:
        name = log or program
        path = shutil.which(program, path=SYSTEM)
        assert path is not None
        with (self.folder / f"{name}.out").open("ab") as out:
            process = subprocess.Popen(
                [path, *words], env=self.environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=self.folder,
                start_new_session=True,
            )  # fmt: skip
        (self.folder / f"{name}.pid").write_text(str(process.pid))

    def _munge(self) -> None:
        files = {name: self.folder / f"munge.{name}" for name in ("key", "sock", "log", "seed")}
        self._daemon(
            "munged", "--foreground", "--force", f"--key-file={files['key']}", f"--socket={files['sock']}",
            f"--log-file={files['log']}", f"--seed-file={files['seed']}", f"--pid-file={self.folder / 'munge.pid'}",
        )  # fmt: skip
        self._until("munged", lambda: files["sock"].is_socket())

    def _accounting(self) -> None:
        data, socket_ = self.folder / "data", self.folder / "db.sock"
        user = getpass.getuser()
        subprocess.run(
            ["mariadb-install-db", "--no-defaults", f"--datadir={data}", f"--user={user}", "--skip-test-db"],
            check=True, capture_output=True, env=self.environment,
        )  # fmt: skip
        self._daemon(
            "mariadbd", "--no-defaults", f"--datadir={data}", f"--socket={socket_}", f"--user={user}",
            "--bind-address=127.0.0.1", f"--port={self.ports[2]}", f"--pid-file={self.folder / 'db.pid'}",
            "--innodb-buffer-pool-size=64M", "--innodb-lock-wait-timeout=900", "--skip-log-bin",
        )  # fmt: skip
        grant = (
            f"CREATE DATABASE {DATABASE}; CREATE USER slurm@localhost IDENTIFIED BY '{self.password}', "
            f"slurm@'127.0.0.1' IDENTIFIED BY '{self.password}'; GRANT ALL ON {DATABASE}.* TO slurm@localhost; "
            f"GRANT ALL ON {DATABASE}.* TO slurm@'127.0.0.1';"
        )
        command = ["mariadb", "--no-defaults", f"--socket={socket_}", f"--user={user}"]
        self._until("mariadbd", lambda: self._works([*command, "-e", "SELECT 1"]))
        subprocess.run([*command, "-e", grant], check=True, capture_output=True, env=self.environment)
        self._daemon("slurmdbd", "-D")
        add = ["sacctmgr", "-i", "add", "cluster", "test"]
        self._until(
            "slurmdbd", lambda: self._works(add) or b"test" in self._output(["sacctmgr", "-n", "show", "cluster"])
        )

    def _works(self, command: Sequence[str]) -> bool:
        return subprocess.run(command, env=self.environment, capture_output=True, check=False).returncode == 0

    def _output(self, command: Sequence[str]) -> bytes:
        return subprocess.run(command, env=self.environment, capture_output=True, check=False).stdout

    def _until(self, what: str, there: object) -> None:
        assert callable(there)
        deadline = time.monotonic() + START_SECONDS
        while True:
            with contextlib.suppress(subprocess.CalledProcessError):
                if there():
                    return
            if time.monotonic() > deadline:
                logs = sorted(self.folder.glob("*.out"))
                tails = "; ".join(f"{log.name}: {log.read_text(errors='replace')[-300:]}" for log in logs)
                raise RuntimeError(f"{what} did not come up within {START_SECONDS:g} s: {tails}")
            time.sleep(0.2)

    def _write_configs(self, ports: Sequence[int]) -> None:
        self.ports, self.password = ports, secrets.token_hex(16)
        host, user = socket.gethostname().partition(".")[0], getpass.getuser()
        common = f"AuthType=auth/munge\nAuthInfo=socket={self.folder}/munge.sock\nSlurmUser={user}\n"
        dbd = self.folder / "slurmdbd.conf"
        dbd.touch(mode=0o600)
        dbd.write_text(
            f"{common}DbdHost=localhost\nDbdAddr=127.0.0.1\nDbdPort={ports[1]}\nPidFile={self.folder}/dbd.pid\n"
            f"StorageType=accounting_storage/mysql\nStorageHost=127.0.0.1\nStoragePort={ports[2]}\n"
            f"StorageUser=slurm\nStoragePass={self.password}\nStorageLoc={DATABASE}\n"
        )
        nodes = "\n".join(
            f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=2 RealMemory=4000"
            for node, port in zip(self.nodes, ports[3:], strict=True)
        )
        self.conf.write_text(
            f"ClusterName=test\nSlurmctldHost={host}(127.0.0.1)\nSlurmctldPort={ports[0]}\nSlurmdUser={user}\n"
            f"{common.replace('.sock', f'.sock,cred_expire={REQUEUE}')}"
            f"StateSaveLocation={self.folder}/state\nSlurmdSpoolDir={self.folder}/spool/%n\n"
            f"SlurmctldPidFile={self.folder}/ctld.pid\nSlurmdPidFile={self.folder}/slurmd-%n.pid\n"
            "ProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\nSwitchType=switch/none\nMpiDefault=none\n"
            "SelectType=select/cons_tres\nSelectTypeParameters=CR_CPU\nReturnToService=2\nMailProg=/bin/true\n"
            f"JobRequeue=1\nPreemptType=preempt/partition_prio\nPreemptMode=REQUEUE\nKillWait={KILL_WAIT}\n"
            "SchedulerParameters=bf_interval=1,sched_interval=1,requeue_delay=1\nOverTimeLimit=0\n"
            f"MessageTimeout={PATIENCE}\nTCPTimeout={PATIENCE}\nBatchStartTimeout={2 * PATIENCE}\n"
            "JobAcctGatherType=jobacct_gather/linux\nAccountingStorageType=accounting_storage/slurmdbd\n"
            f"AccountingStorageHost=127.0.0.1\nAccountingStoragePort={ports[1]}\n"
            f"AccountingStoragePass={self.folder}/munge.sock\n{nodes}\n"
            f"PartitionName=low Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1 GraceTime={GRACE}\n"
            "PartitionName=high Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF\n"
        )


@contextlib.contextmanager
def cluster(nodes: Sequence[str] = NODES) -> Iterator[Cluster]:
    """A scope with a cluster, in which commands use it: SLURM_CONF is set."""
    with tempfile.TemporaryDirectory(prefix="ns-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        made, before = Cluster(Path(folder), nodes), dict(os.environ)
        try:
            os.environ |= made.environment
            made.start()
            yield made
        finally:
            made.stop()
            os.environ.clear()
            os.environ.update(before)


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        holders = [stack.enter_context(socket.socket()) for _ in range(count)]
        for holder in holders:
            holder.bind(("127.0.0.1", 0))
        return [int(holder.getsockname()[1]) for holder in holders]


def _end(path: Path) -> None:
    """End the process whose number is in a file, and wait until it has ended."""
    try:
        number = int(path.read_text())
        os.kill(number, signal.SIGTERM)
    except (OSError, ValueError):
        return
    for turn in range(200):
        with contextlib.suppress(ChildProcessError):
            os.waitpid(number, os.WNOHANG)
        try:
            os.kill(number, signal.SIGKILL if turn == 150 else 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)


def main() -> int:
    """`start FOLDER` or `stop FOLDER`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("start", "stop"))
    parser.add_argument("folder", type=Path, help="folder for all files of the cluster, with a short path")
    flags = parser.parse_args()
    made = Cluster(flags.folder)
    if flags.what == "stop":
        made.stop()
        return 0
    try:
        made.start()
    except (RuntimeError, subprocess.CalledProcessError) as error:
        made.stop()
        print(f"slurm_cluster: {error}", file=sys.stderr)
        return 1
    print(f"export SLURM_CONF={made.conf}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

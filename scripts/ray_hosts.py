"""A Ray cluster of several hosts on this machine, whose network can be cut, slowed down and measured.

    python scripts/ray_hosts.py start FOLDER --hosts 3     # then do what it prints; Ctrl-C ends all of it
    python scripts/ray_hosts.py enter FOLDER h2 COMMAND... # a command on a host, from another terminal

Each host is a network namespace with its own address, name, processes (it can lose its power), shared memory and
temporary files; veth pairs and a bridge join them. They share the file system, like the hosts of a cluster. Needs root,
`iproute2` and `util-linux` (`missing` says what is missing).
"""

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # scripts are not a package
from ray_nodes import children

NETWORK = "10.77.0"
PORT, CLIENT_PORT = 6379, 10001
PROGRAMS = ("ip", "unshare", "nsenter", "mount", "setpriv")
QUIET = {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "RAY_prestart_worker_first_driver": "0"}
START_SECONDS, STARTS = 90.0, 3
HOLD = """
hostname "$1"; ip link set lo up; mount -t tmpfs -o size="$2" shm /dev/shm; mount --bind "$3" "$4"; echo ready
exec sleep infinity
"""


def missing() -> str | None:
    """Why hosts cannot be made on this machine; None if they can."""
    if absent := [name for name in PROGRAMS if shutil.which(name) is None]:
        return f"no {', '.join(absent)} here"
    if os.geteuid() != 0:
        return "only root may make network namespaces"
    tried = subprocess.run(["unshare", "--net", "--pid", "--mount", "--uts", "--fork", "true"], capture_output=True)
    return None if tried.returncode == 0 else "no namespaces here"


def _run(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr.strip()}")


class Host:
    """One host, with power. `inside`: a process of it, as seen from this machine. `port`: its end of the network
    here."""

    def __init__(self, number: int, folder: Path, bridge: str, shm: str) -> None:
        self.name, self.address = f"h{number}", f"{NETWORK}.{number}"
        self.port, self._folder, self._bridge, self._shm = f"{bridge}p{number}", folder, bridge, shm
        self._relay: subprocess.Popen[bytes] | None = None
        self.ray: subprocess.Popen[str] | None = None
        self._power_on()

    def _power_on(self) -> None:
        own, shared = self._folder / self.name, self._folder / "ray"
        shutil.rmtree(own, ignore_errors=True)
        own.mkdir()
        kinds = ("--net", "--uts", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
        # The host ends with this process, however that ends.
        words = [
            "setpriv",
            "--pdeathsig",
            "KILL",
            "unshare",
            *kinds,
            "sh",
            "-c",
            HOLD,
            "sh",
            self.name,
            self._shm,
            str(own),
            str(shared),
        ]
        self._holder = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, start_new_session=True)
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != "ready\n":
            raise RuntimeError(f"{self.name} cannot be made")
        [self.inside] = children(self._holder.pid)
        _run("ip", "link", "add", self.port, "type", "veth", "peer", "name", "eth0", "netns", str(self.inside))
        _run("ip", "link", "set", self.port, "master", self._bridge, "up")
        _run(*self.words("ip", "address", "add", f"{self.address}/24", "dev", "eth0"))
        _run(*self.words("ip", "link", "set", "eth0", "up"))

    def words(self, *words: str) -> list[str]:
        """A command's arguments for this host."""
        return ["nsenter", "-t", str(self.inside), "--net", "--uts", "--mount", "--pid", "--", *words]

    def open(self, *words: str, **how: object) -> "subprocess.Popen[str]":
        """Start a command on this host. It is a child of the returned process, see `children`."""
        return subprocess.Popen(self.words(*words), text=True, **how)  # type: ignore[call-overload, no-any-return]

    def start_ray(self, *words: str, environment: dict[str, str] | None = None) -> None:
        """Start a node of Ray; on a busy machine it may exceed Ray's own time limits, and is tried again."""
        program = str(Path(sys.executable).with_name("ray"))
        fixed = ("--block", "--dashboard-agent-listen-port=0", f"--node-ip-address={self.address}")
        variables = {**os.environ, **QUIET, **(environment or {})}
        log = self._folder / f"{self.name}.log"
        for _ in range(STARTS):
            with log.open("w") as out:
                self.ray = self.open(
                    program, "start", *fixed, *words, env=variables, stdout=out, stderr=out, start_new_session=True
                )
            until = time.monotonic() + START_SECONDS
            while self.ray.poll() is None and time.monotonic() < until:
                if "Ray runtime started" in log.read_text():
                    return
                time.sleep(0.2)
            self.stop_ray()
        raise RuntimeError(f"Ray could not be started on {self.name}: {log.read_text()[-500:]}")

    def stop_ray(self) -> None:
        """Kill all processes on this host; it stays in the network."""
        for process in _below(self._holder.pid) - {self.inside}:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        if self.ray is not None:
            self.ray.kill()
            self.ray.wait()
            self.ray = None

    def cut(self) -> None:
        """Cut the host off: disable its interface, which loses all packets in transit."""
        _run("ip", "link", "set", self.port, "down")

    def join(self) -> None:
        """Undo `cut`."""
        _run("ip", "link", "set", self.port, "up")

    def slow(self, milliseconds: float, loss: float) -> None:
        """Delay each frame by so long, in each direction, and lose this share of them."""
        here, there = f"{self.port}a", f"{self.port}b"
        side = f"{self.port}s"
        words = [
            sys.executable,
            str(Path(__file__).with_name("slow_link.py")),
            here,
            there,
            f"{milliseconds}",
            f"{loss}",
        ]
        self._relay = subprocess.Popen(words, stdout=subprocess.PIPE)
        assert self._relay.stdout is not None
        if self._relay.stdout.readline() != b"ready\n":
            raise RuntimeError("no tap devices here")
        _run("ip", "link", "add", side, "type", "bridge")
        for port, bridge in ((here, side), (there, self._bridge), (self.port, side)):
            _run("ip", "link", "set", port, "master", bridge, "up")
        _run("ip", "link", "set", side, "up")

    def fast(self) -> None:
        """Undo `slow`."""
        if self._relay is not None:
            _run("ip", "link", "set", self.port, "master", self._bridge)
            _run("ip", "link", "del", f"{self.port}s")
            self._relay.kill()
            self._relay.wait()
            self._relay = None

    def traffic(self) -> tuple[int, int]:
        """Bytes that the host has received and sent so far."""
        counted = Path("/sys/class/net", self.port, "statistics")
        return int((counted / "tx_bytes").read_text()), int((counted / "rx_bytes").read_text())

    def power_off(self) -> None:
        """End all its processes at once, and remove it from the network."""
        self.fast()
        self._holder.kill()  # ends the first process of the host, and so all others
        self._holder.wait()
        with contextlib.suppress(OSError):
            while Path(f"/proc/{self.inside}").exists():
                time.sleep(0.02)
        if self.ray is not None:
            self.ray.kill()
            self.ray.wait()
            self.ray = None
        with contextlib.suppress(RuntimeError):
            _run("ip", "link", "del", self.port)

    def power_on(self) -> None:
        """Start it again as a new host, without Ray."""
        self._power_on()


def _below(process: int) -> set[int]:
    """All processes in the process namespace of a holder."""
    [first] = children(process)
    space = Path(f"/proc/{first}/ns/pid").readlink()
    found = set()
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and (entry / "ns/pid").readlink() == space:
                found.add(int(entry.name))
    return found


class Hosts:
    """Hosts in one network. The first is the head of a cluster, where the runner starts; the others can be lost.

    `address`: for `hardware.address`.
    """

    def __init__(self, folder: Path, count: int, *, shm: str = "4g") -> None:
        self._bridge = f"nr{os.getpid() % 100000}"
        (folder / "ray").mkdir(parents=True, exist_ok=True)
        self.folder, self.address, self.client = folder, f"{NETWORK}.1:{PORT}", f"ray://{NETWORK}.1:{CLIENT_PORT}"
        _run("ip", "link", "add", self._bridge, "type", "bridge")
        _run("ip", "link", "set", self._bridge, "up")
        self.all: list[Host] = []
        try:
            self.all += [Host(number, folder, self._bridge, shm) for number in range(1, count + 1)]
        except BaseException:
            self.end()
            raise

    @property
    def head(self) -> Host:
        """The first host."""
        return self.all[0]

    @property
    def others(self) -> Sequence[Host]:
        """All hosts but the head."""
        return self.all[1:]

    def start_head(self, *words: str, cpus: int = 1, config: str = "") -> None:
        """Start the head of a cluster. `config`: Ray's `--system-config`, if not Ray's default."""
        fixed = ("--head", f"--port={PORT}", f"--ray-client-server-port={CLIENT_PORT}", "--include-dashboard=false")
        more = [f"--system-config={config}"] if config else []
        self.head.start_ray(*fixed, f"--temp-dir={self.folder / 'ray'}", f"--num-cpus={cpus}", *more, *words)

    def start_node(self, host: Host, *words: str, cpus: int = 1, environment: dict[str, str] | None = None) -> None:
        """Start a node of the cluster on a host."""
        host.start_ray(f"--address={self.address}", f"--num-cpus={cpus}", *words, environment=environment)

    def end(self) -> None:
        """End everything."""
        for host in reversed(self.all):
            host.power_off()
        with contextlib.suppress(RuntimeError):
            _run("ip", "link", "del", self._bridge)


@contextlib.contextmanager
def hosts(count: int = 3, *, shm: str = "4g") -> Iterator[Hosts]:
    """A scope with hosts, which leaves nothing behind; SIGTERM ends it in order."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="nr-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        made = Hosts(Path(folder), count, shm=shm)
        try:
            yield made
        finally:
            made.end()


def _start(folder: Path, count: int) -> None:
    made = Hosts(folder.absolute(), count)
    try:
        for host in made.all:
            (made.folder / f"{host.name}.pid").write_text(f"{host.inside}\n")
        made.start_head()
        for host in made.others:
            made.start_node(host)
        print(f"a cluster of {count} hosts at {made.address}; Ctrl-C ends it")
        here = f"python scripts/ray_hosts.py enter {folder} h1"
        print(f"{here} nasrun hardware=ray hardware.address={made.address}", flush=True)
        signal.pause()
    except KeyboardInterrupt:
        pass
    finally:
        made.end()


def main() -> None:
    """See the top of this file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("start", "enter"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--hosts", type=int, default=3)
    parser.add_argument("words", nargs=argparse.REMAINDER)
    given = parser.parse_args()
    if reason := missing():
        sys.exit(reason)
    if given.what == "start":
        given.folder.mkdir(parents=True, exist_ok=True)
        _start(given.folder, given.hosts)
        return
    inside = (given.folder / f"{given.words[0]}.pid").read_text().strip()
    os.environ |= QUIET
    kinds = ("--net", "--uts", "--mount", "--pid")
    os.execvp("nsenter", ["nsenter", "-t", inside, *kinds, "--", *given.words[1:]])


if __name__ == "__main__":
    main()

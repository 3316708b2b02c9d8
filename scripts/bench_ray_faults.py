"""Injects faults into real Ray clusters of several hosts during a search, and prints a table of the results.

    python scripts/bench_ray_faults.py [--only NAME,...] [--other FOLDER...] [--folder DIR]

Each fault hits a run on a cluster of hosts (`scripts/ray_hosts.py`), with Ray's own settings unless stated. The run
either finishes, or says in one line why not, and is resumed. Tables, genomes, best network and its weights must be
equal byte for byte to those of the same search in one process. Time lost is relative to an undisturbed run on the same
kind of cluster, including a resume. `--other`: folders that `pip install --no-deps --target FOLDER ...` filled with
another version of nasrun or torch. Exits with 1 if a run differs.
"""

import argparse
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # scripts are not a package
from crash_campaign import TRAINED
from ray_campaign import UNDISTURBED, Campaign
from ray_hosts import Host, Hosts, hosts, missing

COMMON = (
    *("strategy=aging_evolution", "strategy.population=6", "strategy.sample=3"),
    *("hardware.threads=1", "hardware.in_flight=4", "hardware.device=cpu", "output.plots=false"),
)
SHORT = (
    *COMMON,
    *("search_space=sequential_cnn", "dataset=synthetic", "evaluator=synthetic", "evaluator.delay=2", "trials=45"),
)
"""Trials that only wait, because the faults need the machine. The tests interrupt real training runs."""
LONG = (*SHORT[:-2], "evaluator.delay=4", "trials=300")
REAL = (
    *(word for word in TRAINED if not word.startswith(("dataset", "trials", "evaluator.repeats"))),
    *(*COMMON, "trials=6", "evaluator.repeats=1", "evaluator.epoch_images=256"),
)
CIFAR = (*REAL, "dataset=cifar10")
"""Real training runs on all images of CIFAR-10, a few at a time."""
QUICK_CHECKS = '{"health_check_period_ms":1000,"health_check_timeout_ms":5000,"health_check_failure_threshold":3}'
"""Makes Ray check for lost nodes every second, instead of every three to ten; for clusters whose nodes come and go."""


def _three(made: Hosts, *, config: str = "", words: Sequence[str] = ()) -> None:
    made.start_head(*words, config=config)
    for host in made.others:
        made.start_node(host, *words)


def _stay(made: Hosts) -> Callable[[], tuple[Host, str]]:
    return lambda: (made.head, made.address)


def disturbed(
    campaign: Campaign, made: Hosts, title: str, words: tuple[str, ...], fault: Callable[[Host], None], at: int = 5
) -> None:
    """One run, and a fault of the last host once some trials are measured."""
    campaign.alone(words)
    runner = campaign.begin(made.head, made.address, words)
    runner.wait_for(at)
    fault(made.all[-1])
    campaign.finish(title, runner, words, _stay(made))


def cut_short(campaign: Campaign) -> None:
    """A host cut off for 5 s, twice; for ever; a slow link."""

    def cut(host: Host) -> None:
        host.cut()
        time.sleep(5)
        host.join()

    def slow(host: Host) -> None:
        host.slow(200, 0.05)

    with hosts() as made:
        _three(made)
        disturbed(campaign, made, UNDISTURBED, SHORT, lambda host: None)
        disturbed(campaign, made, "a host cut off for 5 s", SHORT, cut)
        disturbed(campaign, made, "200 ms and 5 % loss in each direction from then on", SHORT, slow)
        disturbed(campaign, made, "the same from the start", SHORT, lambda host: None)
        made.all[-1].fast()
        disturbed(campaign, made, "a host cut off for ever", SHORT, Host.cut)


def cut_long(campaign: Campaign) -> None:
    """A host cut off for five minutes."""

    def cut(host: Host) -> None:
        began = time.monotonic()
        host.cut()
        time.sleep(300)
        host.join()
        host.stop_ray()  # the rest of the node that Ray gave up, which its owner would end
        made.start_node(host)
        print(f"<!-- cut off and back again after {time.monotonic() - began:.0f} s -->", flush=True)

    with hosts() as made:
        _three(made)
        disturbed(campaign, made, "a host cut off for 5 min", LONG, cut)


def runner_cut(campaign: Campaign) -> None:
    """The runner is on a host that is cut off from the head and the workers."""
    with hosts() as made:
        _three(made)
        campaign.alone(SHORT)
        for seconds in (5, 600):
            runner = campaign.begin(made.all[-1], made.address, SHORT)
            runner.wait_for(5)
            made.all[-1].cut()
            if seconds == 5:
                time.sleep(5)
                made.all[-1].join()

            def again() -> tuple[Host, str]:
                made.all[-1].join()
                return made.head, made.address

            how_long = "for 5 s" if seconds == 5 else "for ever; resumed on the head"
            campaign.finish(f"the runner's host cut off {how_long}", runner, SHORT, again)


def head_killed(campaign: Campaign) -> None:
    """The head loses its power, or its services are killed."""
    campaign.alone(SHORT)
    for title in ("the head's services (GCS) killed", "the head without power, the runner on another host"):
        with hosts() as made:
            _three(made)
            runner = campaign.begin(made.all[-1], made.address, SHORT)
            runner.wait_for(5)
            if "GCS" in title:
                subprocess.run(made.head.words("pkill", "-9", "gcs_server"), check=False)
            else:
                made.head.power_off()

            def again(made: Hosts = made) -> tuple[Host, str]:
                for host in made.all:
                    host.power_off()
                    host.power_on()
                _three(made)
                return made.head, made.address

            campaign.finish(title, runner, SHORT, again)


def full_store(campaign: Campaign) -> None:
    """Data larger than the object store of each node."""
    words = CIFAR
    with hosts() as made:
        _three(made, words=("--object-store-memory=80000000",))
        disturbed(campaign, made, "object stores of 80 MB for data of 180 MB", words, lambda host: None, at=0)


def full_disk(campaign: Campaign) -> None:
    """The same if neither shared memory nor the disk have room on a node."""
    words = CIFAR
    with hosts(shm="100m") as made:
        small = ("sh", "-c", f"mount -t tmpfs -o size=60m disk {made.folder / 'ray'}")
        subprocess.run(made.all[-1].words(*small), check=True)
        made.start_head("--object-store-memory=400000000")
        made.start_node(made.all[1], "--object-store-memory=400000000")
        made.start_node(made.all[2], "--object-store-memory=80000000")
        disturbed(campaign, made, "the same, and no room on the disk of a node", words, lambda host: None, at=0)


def two_runs(campaign: Campaign) -> None:
    """Two users' runs at once on three processors, and a run through Ray's client."""
    other = (*SHORT, "seed=1")
    campaign.alone(SHORT)
    campaign.alone(other)
    with hosts() as made:
        _three(made)
        first = campaign.begin(made.head, made.address, SHORT, workers=2)
        second = campaign.begin(made.all[1], made.address, other, workers=2)
        campaign.finish("two runs at once, four workers for three processors: the first", first, SHORT, _stay(made))
        campaign.finish("... the second", second, other, _stay(made))
        through = campaign.begin(made.all[2], made.client, SHORT)
        campaign.finish("Ray's client (`ray://`)", through, SHORT, lambda: (made.all[2], made.client))


def other_versions(campaign: Campaign) -> None:
    """A node whose workers have another version of nasrun, or of torch."""
    for folder in campaign.others:
        with hosts(2) as made:
            made.start_head(cpus=0)
            made.start_node(made.all[1], environment={"PYTHONPATH": str(folder)})
            ended = campaign.begin(made.head, made.address, SHORT, workers=1).end()
            how = f"ends after {ended.seconds:.0f} s, code {ended.code}: `{ended.said}`"
            campaign.row(f"workers of another version ({folder.name})", how, None, "-")


def spot(campaign: Campaign, minutes: float = 4.0) -> None:
    """Half of four nodes lose their power at random moments, and come back."""
    words = (*LONG[:-1], "trials=160")
    campaign.alone(words)
    rng, killed = random.Random(0), 0
    with hosts(5) as made:
        made.start_head(cpus=1, config=QUICK_CHECKS)
        for host in made.others:
            made.start_node(host)
        runner = campaign.begin(made.head, made.address, words, workers=4)
        runner.wait_for(4)
        until = time.monotonic() + 60 * minutes
        while time.monotonic() < until and runner.process.poll() is None:
            time.sleep(rng.uniform(5, 20))
            lost = rng.sample(made.others, 2)
            for host in lost:
                host.power_off()
            killed += 2
            time.sleep(rng.uniform(0, 10))
            for host in lost:
                host.power_on()
                made.start_node(host)
        title = f"half of four nodes without power at random moments, and back again: {killed} in {minutes:.0f} min"
        campaign.finish(title, runner, words, _stay(made))


def elastic(campaign: Campaign) -> None:
    """Nodes start while a run waits, and end while it works."""
    campaign.alone(SHORT)
    with hosts() as made:
        made.start_head(cpus=0, config=QUICK_CHECKS)
        runner = campaign.begin(made.head, made.address, SHORT, workers=2)
        time.sleep(30)
        made.start_node(made.all[1])
        runner.wait_for(4)
        made.start_node(made.all[2])
        runner.wait_for(10)
        made.all[1].stop_ray()
        campaign.finish("no node at first, then one, then two, then the other one", runner, SHORT, _stay(made))


def gigabyte(campaign: Campaign) -> None:
    """A gigabyte of images, two workers on each of three hosts: bytes over the network."""
    path = campaign.folder / "images.npz"
    _write_images(path)
    words = (*REAL, "dataset=arrays", f"dataset.path={path}")
    campaign.alone(words)
    with hosts() as made:
        made.start_head(cpus=2)
        for host in made.others:
            made.start_node(host, cpus=2)
        before = [host.traffic() for host in made.all]
        runner = campaign.begin(made.head, made.address, words, workers=6)
        ended = runner.end()
        moved = [
            (now[0] - then[0], now[1] - then[1])
            for then, now in zip(before, (host.traffic() for host in made.all), strict=True)
        ]
        told = "; ".join(
            f"{host.name} {got / 1e6:.1f} MB in, {sent / 1e6:.1f} MB out"
            for host, (got, sent) in zip(made.all, moved, strict=True)
        )
        same = ended.code == 0 and campaign.same(runner.directory, words)
        campaign.row("1 GB of images, six workers on three hosts", f"{ended.said or 'done'}: {told}", same, "-")


def _write_images(path: Path) -> None:
    """CIFAR-10's training images, enlarged to 80 x 80 by repeating pixels: 0.96 GB."""
    import numpy as np

    from nasrun.datasets.cifar10 import Cifar10

    found = Cifar10(validation=0.02).load().train
    images = np.asarray(found.images, dtype=np.uint8).repeat(2, axis=2).repeat(2, axis=3)
    images = np.pad(images, ((0, 0), (0, 0), (8, 8), (8, 8)), mode="edge")
    np.savez(path, images=images.transpose(0, 2, 3, 1), labels=found.labels)


FAULTS: Mapping[str, Callable[[Campaign], None]] = {
    one.__name__: one
    for one in (
        *(cut_short, cut_long, runner_cut, head_killed, full_store, full_disk, two_runs),
        *(other_versions, spot, elastic, gigabyte),
    )
}


def main() -> None:
    """See the top of this file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(FAULTS))
    parser.add_argument("--other", type=Path, nargs="*", default=())
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    if reason := missing():
        sys.exit(reason)
    folder = given.folder or Path(tempfile.mkdtemp(prefix="nasrun-faults-"))
    folder.mkdir(parents=True, exist_ok=True)
    campaign = Campaign(folder.absolute(), given.other)
    print("| fault | what comes of it | result | time lost |\n|---|---|---|---|", flush=True)
    for name in given.only.split(","):
        FAULTS[name](campaign)
    sys.exit(campaign.failed)


if __name__ == "__main__":
    main()

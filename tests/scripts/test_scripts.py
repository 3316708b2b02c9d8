"""Every script starts: what it says of itself, and its smallest form."""

import re
import subprocess
from pathlib import Path

import pytest

from nasrun.datasets.fashion_mnist_mini import FILE
from tests.runner.test_crash import SCRIPTS
from tests.scripts.conftest import Script
from tests.scripts.test_shared_scripts import call

TESTS = SCRIPTS.parent / "tests"
INSTALLED = Path("/usr/share/datasets/fashion-mnist")
MODULES = ("ray_campaign", "ray_nodes")
"""What other scripts import; not programs."""

SMALLEST = {
    "bench_blocks": "--seconds 0.05 --batch 8 relu-cn_r1_k3_s2_c8-bb_r1_k3_s2_c16",
    "bench_groups": "--rounds 1 --steps 2",
    "bench_loop": "--trials 20 --runs 1",
    "bench_methods": "OUTPUT --seconds 1 --seeds 1 --methods gdas --trial-runs 0 --samples 200 "
    "dataset=fashion_mnist_mini",
    "bench_prescreen": "--strategies random predictor --scores none flops --inputs flops --seeds 1 --trials 22",
    "bench_proxies": "--cells 3 --scores naswot flops --images 4 --dataset fashion_mnist_mini",
    "bench_recipes": "plain --dataset fashion_mnist --per-class 20 --epochs 1 --seeds 1",
    "bench_replicas": "--quick --threads 2",
    "bench_steering": "--trials 6 --seeds 1",
    "bench_tfrecord": "--records 100 --runs 1",
    "bench_workers": "--quick",
    "bench_trainer": "--samples 256 --epochs 1 --seeds 1 --cases dense --dataset fashion_mnist_mini",
    "handwritten_baseline": "--seconds 8 dataset=fashion_mnist_mini dataset.train_samples=200",
    "optuna_baseline": "--seconds 12 dataset=fashion_mnist_mini dataset.train_samples=200",
    "crash_campaign": "--kills 1 --runs table",
    "long_run": "--trials 60 --every 30",
    "make_docs": "OUTPUT",
}
"""Words with which a script takes seconds. OUTPUT: a folder of the test's own."""

SLOW = ("bench_methods", "bench_replicas", "bench_workers")
"""Of these, scripts that take more than 20."""

LONG = {
    "bench_images": "writes thousands of pictures, from CIFAR-10, which may not be there",
    "bench_inheritance": "minutes of processor time",
    "bench_init": "minutes of processor time, on CIFAR-10",
    "bench_ray_faults": "minutes of faults, by root; tests/hardware/test_ray_hosts.py does the shortest",
    "bench_sweep": "a thousand runs of a table that is not shipped",
    "bench_value": "a case is 60 s of processor time or more, on CIFAR-10, which may not be there",
    "ray_hosts": "starts hosts as root; tests/hardware/test_ray_hosts.py does that",
    "slow_link": "goes on until it is ended; scripts/ray_hosts.py does that",
    "slurm_cluster": "starts a cluster; tests/test_slurm.py does that where the packages are",
    "make_tables": "reads the raw tables, which are not shipped; tests/tables/test_shipped.py runs it where they are",
}
"""Scripts without a smallest form, and why."""

PROGRAMS = sorted(path.stem for path in SCRIPTS.glob("*.py") if path.stem not in MODULES)


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_script_says_how_it_is_called(name: str, call_there: Script, tmp_path: Path) -> None:
    done = call_there(name, "--help", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: {name}.py [-h]")
    first = (SCRIPTS / f"{name}.py").read_text().splitlines()[0].strip('"')
    assert " ".join(first.split()) in " ".join(done.stdout.split())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["nasrun", "setup", "test"])
def test_a_shell_script_says_how_it_is_called(name: str) -> None:
    text = (SCRIPTS / name).read_text()
    if name == "nasrun":
        assert 'exec "$root/.venv/bin/nasrun" "$@"' in text  # the command's own help
        return
    done = subprocess.run([SCRIPTS / name, "--help"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[1].startswith(f"usage: scripts/{name} [")


@pytest.mark.parametrize("name", MODULES)
def test_what_is_no_program_is_imported_by_one(name: str) -> None:
    assert "__main__" not in (SCRIPTS / f"{name}.py").read_text()
    assert any(re.search(rf"^from {name} import", path.read_text(), re.M) for path in SCRIPTS.glob("*.py"))


def test_every_script_is_run_by_a_test_or_takes_long() -> None:
    sources = [path.read_text() for path in TESTS.rglob("test_*.py") if path != Path(__file__)]
    elsewhere = {name for name in PROGRAMS if any(re.search(rf'["/]{name}(\.py|")', text) for text in sources)}
    assert {*PROGRAMS} == {*SMALLEST, *LONG, *elsewhere, "make_fashion_mnist_mini"}


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in SMALLEST])
def test_the_smallest_form_of_a_script_runs(name: str, tmp_path: Path) -> None:
    if "fashion_mnist" in SMALLEST[name].split() and not INSTALLED.is_dir():
        pytest.skip("needs all of Fashion-MNIST, as Debian installs it")
    made = tmp_path / "made"
    printed = call(name, *SMALLEST[name].replace("OUTPUT", str(made)).split())
    assert any(made.iterdir()) if "OUTPUT" in SMALLEST[name] else re.search(r"\d", printed)


@pytest.mark.slow
@pytest.mark.skipif(not INSTALLED.is_dir(), reason="needs all of Fashion-MNIST, as Debian installs it")
def test_the_images_that_are_shipped_are_made_again(tmp_path: Path) -> None:
    call("make_fashion_mnist_mini", tmp_path / FILE)
    assert (tmp_path / FILE).read_bytes() == (SCRIPTS.parent / "nasrun" / "datasets" / "data" / FILE).read_bytes()

"""Nothing of nasrun or of a library that it uses reports to anyone, or leaves files in the user's home folder."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from nasrun.core.telemetry import SWITCHED_OFF
from tests.core import outgoing

ROOT = Path(__file__).parents[2]
UNSHARE = ("unshare", "--net", "--map-root-user")

KEPT = re.compile(r"\.cache(/matplotlib(/fontlist-.*)?)?|\.config(/matplotlib)?|\.cache/nasrun(/tables(/.*)?)?")
"""What may be in a home folder: Matplotlib's list of this machine's fonts, its folder for the user's settings, and
the tables that nasrun made of a user's own benchmark files."""

FAST = "dataset=synthetic evaluator=synthetic trials=4 output.console=plain output.plots=false"
TRAINED = (
    "trials=2 strategy=random hardware=cpu hardware.threads=1 evaluator.epochs=1 evaluator.final_epochs=1 "
    "output.console=plain"
)
GAPS = "dataset=gap_filling dataset.size=8 dataset.region=16 dataset.patches=20 search_space=training_recipe"
SMALL = "search_space=sequential_cnn search_space.max_depth=3 search_space.filters=[4] search_space.kernels=[1]"

COMMANDS: dict[str, tuple[str, ...]] = {
    "images": (
        f"nasrun {TRAINED} {SMALL} dataset=image_folder dataset.path=images dataset.height=8 dataset.width=8 "
        "hydra.run.dir=run",
        "nasrun predict run images/0/0.png",
    ),
    "heic": (
        f"nasrun {TRAINED} {SMALL} dataset=image_folder dataset.path=images dataset.height=8 dataset.width=8 "
        "hydra.run.dir=run",
        "nasrun predict run images/0/0.heic",
    ),
    "export": (
        f"nasrun {TRAINED} {SMALL} dataset=synthetic hydra.run.dir=run",
        "nasrun export run",
        "nasrun compare run",
    ),
    "gaps": (
        f"nasrun {TRAINED} {GAPS} output.plots=false hydra.run.dir=marble",
        f"nasrun {TRAINED} {GAPS} output.plots=false dataset.path=picture.tif hydra.run.dir=tiff",
    ),
    "swarm": (f"nasrun {FAST} strategy=pso strategy.population=4 hydra.run.dir=run",),
    "tpe": (f"nasrun {FAST} strategy=tpe hydra.run.dir=run",),
    "multi": (f"nasrun {FAST} strategy=nsga2 'objective=[val_accuracy,parameters]' hydra.run.dir=run",),
    "nasbench": (
        "nasrun search_space=nasbench101 evaluator=table evaluator.table=some.tfrecord strategy=random trials=1 "
        "output.console=plain output.plots=false hydra.run.dir=run",
    ),
    "ray": (f"nasrun {FAST} hardware=ray hardware.workers=1 hydra.run.dir=run",),
    "joblib": (f"nasrun -m {FAST} seed=0,1 hydra/launcher=joblib hydra.sweep.dir=sweep",),
    "submitit": (f"nasrun -m {FAST} seed=0,1 hydra/launcher=submitit_local hydra.sweep.dir=sweep",),
    "stats": (
        f"nasrun -m {FAST} strategy=random,aging_evolution seed=0,1 hydra.sweep.dir=sweep",
        "nasrun compare sweep test=wilcoxon",
    ),
    "tensorboard": (f"nasrun {FAST} tracker=tensorboard hydra.run.dir=run",),
    "mlflow": (f"nasrun {FAST} tracker=mlflow hydra.run.dir=run",),
    "wandb": (f"nasrun {FAST} tracker=wandb hydra.run.dir=run",),
    "keras": ("python ROOT/scripts/bench_replicas.py --quick --threads 1",),
    "bench": ("python ROOT/scripts/bench_peers.py --trials 100 --peer-trials 5 --runs 1",),
}
"""For each extra of pyproject.toml commands that use all of its libraries."""

SLOW = ("export", "gaps", "keras")


class Traces(NamedTuple):
    """What commands left: `tried` as `outgoing` has it, `left` processes, and `files` in the home folder."""

    tried: list[str]
    left: list[str]
    files: list[str]


def traces(commands: Sequence[str], folder: Path) -> Traces:
    """Run commands in `folder / "cwd"`, one after the other, as a user of this machine would for the first time."""
    home, report = folder / "home", folder / "report.json"
    for path in (home, folder / "cwd"):
        path.mkdir(exist_ok=True)
    # Nothing of this environment: some libraries keep quiet where they see that they are tested.
    place = {"PATH": f"{Path(sys.executable).parent}:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(home)}
    place |= {"LANG": "C.UTF-8", "OMP_NUM_THREADS": "1", "TMPDIR": str(folder)}
    lines = " && ".join(["set -e", *commands]).replace("ROOT", shlex.quote(str(ROOT)))
    words = [*UNSHARE, sys.executable, "-I", "-S", outgoing.__file__, report, "/bin/sh", "-c", lines]
    done = subprocess.run(words, cwd=folder / "cwd", env=place, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "failed and is disabled" not in done.stdout
    files = sorted(str(path.relative_to(home)) for path in home.rglob("*"))
    return Traces(**json.loads(report.read_text()), files=files)


@pytest.fixture
def alone(tmp_path: Path) -> Path:
    """A folder for commands that run in a network namespace of their own; skipped where the system gives none."""
    probe = [*UNSHARE, "ip", "link", "set", "lo", "up"]
    if not all(map(shutil.which, ("unshare", "ip"))) or subprocess.run(probe, capture_output=True).returncode:
        pytest.skip("needs Linux with unshare (util-linux), ip (iproute2) and the right to make user namespaces")
    return tmp_path


def extras() -> dict[str, list[str]]:
    """The extras of pyproject.toml with their requirements."""
    content: Any = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return content["project"]["optional-dependencies"]  # type: ignore[no-any-return]


def test_what_is_tried_and_what_is_left_is_seen(alone: Path) -> None:
    program = (
        "import pathlib, socket\n"
        "for family, address in ((socket.AF_INET, '203.0.113.7'), (socket.AF_INET, '127.0.0.1')):\n"
        "    socket.socket(family).connect_ex((address, 443))\n"
        "socket.socket(type=socket.SOCK_DGRAM).sendto(b'', ('203.0.113.8', 99))\n"
        "pathlib.Path.home().joinpath('trace').write_text('')\n"
    )
    query = "import socket; socket.socket(type=socket.SOCK_DGRAM).sendto(%r, ('127.0.0.53', 53))"
    message = bytes(12) + b"\7example\3org\0" + bytes(4)
    found = traces([f"python -c {shlex.quote(program)}", f"python -c {shlex.quote(query % message)}"], alone)
    assert found == Traces(["name example.org", "tcp 203.0.113.7:443", "udp 203.0.113.8:99"], [], ["trace"])


def test_every_extra_has_commands() -> None:
    assert set(COMMANDS) == set(extras()) - {"test"}


@pytest.mark.parametrize("extra", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in COMMANDS])
def test_nobody_is_told_of_a_run(extra: str, alone: Path) -> None:
    (alone / "cwd").mkdir()
    prepare(extra, alone / "cwd")
    found = traces(COMMANDS[extra], alone)
    assert found.tried == []
    assert found.left == []
    assert [name for name in found.files if not KEPT.fullmatch(name)] == []


def prepare(extra: str, folder: Path) -> None:
    """The files that the commands of an extra read."""
    if extra in ("images", "heic"):
        from PIL import Image
        from pillow_heif import from_pillow

        from nasrun.datasets.fashion_mnist_mini import FashionMnistMini

        test = FashionMnistMini().load().test
        for label in (0, 1):
            (folder / "images" / str(label)).mkdir(parents=True)
            for number, image in enumerate(test.images[test.labels == label][:20]):
                path = folder / "images" / str(label) / f"{number}.{'heic' if extra == 'heic' else 'png'}"
                write = from_pillow if extra == "heic" else lambda picture: picture
                write(Image.fromarray(image[0])).save(path)
    elif extra == "gaps":
        from tifffile import imwrite

        picture = np.random.default_rng(0).integers(0, 255, (128, 128, 3), dtype=np.uint8)
        imwrite(folder / "picture.tif", picture)
    elif extra == "nasbench":
        from tests.tables import tfrecord_writer as writer

        writer.write(folder / "some.tfrecord", [writer.payload(run) for run in writer.runs(0, 40)])


def test_switches_are_set_whatever_they_were(tmp_path: Path) -> None:
    words = [sys.executable, "-c", "import json, os, nasrun; print(json.dumps(dict(os.environ)))"]
    before = {**os.environ, **dict.fromkeys(SWITCHED_OFF, "on")}
    done = subprocess.run(words, env=before, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert SWITCHED_OFF.items() <= json.loads(done.stdout).items()

"""`nasrun rerun`, `pack` and `unpack`: a run made again from its record, here, elsewhere, and by another user."""

import json
import re
import shutil
import stat
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from nasrun.core.options import ConfigError
from nasrun.storage import journal
from nasrun.storage.pack import unpack

QUIET = "output.plots=false output.console=none"
TABLE = f"search_space=nasbench201 evaluator=table trials=12 {QUIET}"
SMALL = "search_space=mlp search_space.widths=[8,16,32] dataset=mnist"
GENOMES = [f"{first}-{second}" for first in (8, 16, 32) for second in (8, 16, 32)]
OWN = "from own_aid import STEP\nfrom nasrun.strategies.random import Random\nclass Own(Random):\n    step = STEP\n"


def change(run: Path, old: bytes, new: bytes, name: str = "trials.csv") -> None:
    content = (run / name).read_bytes()
    assert old in content
    (run / name).write_bytes(content.replace(old, new, 1))


def test_a_run_made_again_is_equal(nasrun_inprocess: Callable, tmp_path: Path) -> None:
    assert (
        nasrun_inprocess(
            f"{TABLE} strategy=aging_evolution strategy.population=4 strategy.sample=2 hydra.run.dir=run"
        ).returncode
        == 0
    )
    first = nasrun_inprocess("rerun run")
    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout == (
        "run: equal in trials.csv, measurements.csv, history.csv, genomes.txt, best.json; repeated in run_rerun\n"
    )
    header, again = (journal.read(tmp_path / name / "journal.jsonl")[0] for name in ("run", "run_rerun"))
    assert header["environment"]["command"] == again["environment"]["command"]
    assert header["choices"] == again["choices"]
    assert nasrun_inprocess("rerun run").stdout.rstrip().endswith("repeated in run_rerun_2")
    change(tmp_path / "run", b",ok,", b",okay,")
    other = nasrun_inprocess("rerun run --out third")
    assert other.returncode == 1
    assert other.stderr == "nasrun: run: not equal: trials.csv: row 2, status: okay then, ok now; repeated in third\n"


def test_what_cannot_be_made_again_is_refused(nasrun_inprocess: Callable, tmp_path: Path) -> None:
    assert nasrun_inprocess(f"{TABLE} strategy=random hydra.run.dir=run").returncode == 0
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    shutil.copytree(tmp_path / "run", tmp_path / "stopped")
    events = (tmp_path / "run" / "journal.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "stopped" / "journal.jsonl").write_bytes(b"".join(events[:9]))
    before = sorted(tmp_path.rglob("*"))
    for words, said in (
        ("rerun", "rerun: expected a run directory; usage: nasrun rerun DIR"),
        ("rerun gone", "gone: no such directory"),
        ("rerun full", "full: holds no run, nor does a folder in it"),
        ("rerun stopped", "stopped: is not finished; continue with: nasrun resume stopped"),
        ("rerun run trials=3", "trials: would change the run; a repeated run may change only output, tracker"),
        ("rerun run seed=3", "seed: would change the run"),
        ("rerun run --out full", "--out full: is not an empty folder; choose another"),
        ("pack gone", "gone: no such directory"),
        ("pack run trials=3", "trials=3: not expected; usage: nasrun pack DIR"),
        ("unpack", "unpack: expected a file; usage: nasrun unpack FILE.zip [FOLDER]"),
        ("unpack gone.zip", "gone.zip: no such file"),
        ("unpack full/file", "full/file: is not a pack of runs (File is not a zip file)"),
    ):
        answer = nasrun_inprocess(words)
        assert answer.returncode == 2, words
        assert re.fullmatch(r"nasrun: [^\n]+\n", answer.stderr), answer.stderr
        assert said in answer.stderr
    assert sorted(tmp_path.rglob("*")) == before


def test_a_sweep_is_packed_unpacked_and_made_again_by_another(nasrun: Callable, tmp_path: Path) -> None:
    """In another folder, as another user, without the folder of the own classes: equal, and the pack holds nothing of
    the first place."""
    here, there = tmp_path / "home" / "alice" / "work", tmp_path / "home" / "bob"
    here.mkdir(parents=True)
    there.mkdir()
    (here / "own_find.py").write_text(OWN)
    (here / "own_aid.py").write_text("STEP = 3\n")
    rows = [f"{genome},0.{number}" for number, genome in enumerate(GENOMES, start=11)]
    (here / "mine.csv").write_text("\n".join(["genome,val_accuracy", *rows]))
    alice = {"HOME": str(here.parent), "USER": "alice", "PYTHONPATH": str(here)}
    words = f"-m {SMALL} evaluator=table evaluator.table={here}/mine.csv trials=8 {QUIET}"
    made = nasrun(
        f"{words} strategy=random strategy._target_=own_find.Own seed=0,1 hydra.sweep.dir={here}/sweep", **alice
    )
    assert made.returncode == 0, made.stderr
    packed = nasrun(f"pack {here}/sweep", **alice)
    assert packed.returncode == 0, packed.stderr
    assert packed.stderr == ""
    shutil.move(tmp_path / "sweep.zip", there / "sweep.zip")
    with zipfile.ZipFile(there / "sweep.zip") as archive:
        names = archive.namelist()
        for name in names:
            content = archive.read(name)
            assert b"alice" not in content, name
            assert str(tmp_path).encode() not in content, name
        commands = archive.read("sweep/commands.sh").decode().splitlines()
    assert len(commands) == 2
    assert all("evaluator.table=mine.csv" in line and "seed=" in line and "-m" not in line.split() for line in commands)
    assert "sweep/0_random_mnist_seed0/code/own_aid.py" in names
    shutil.move(here, tmp_path / "gone")

    bob = {"HOME": str(there), "USER": "bob"}
    assert nasrun(f"unpack {there}/sweep.zip {there}/theirs", **bob).returncode == 0
    refused = nasrun(f"rerun {there}/theirs", **bob)
    assert refused.returncode == 2
    assert "strategy._target_=own_find.Own: is not of nasrun" in refused.stderr
    table = f"evaluator.table={tmp_path}/gone/mine.csv"
    again = nasrun(f"rerun {there}/theirs {table}", **bob, NASRUN_ALLOW="own_find")
    assert again.returncode == 0, again.stderr
    assert again.stdout.splitlines()[-1] == "2 of 2 runs are equal"
    one = there / "theirs_rerun" / "1_random_mnist_seed1"
    assert (one / "code" / "own_find.py").read_text() == OWN
    change(there / "theirs" / "0_random_mnist_seed0", b"STEP = 3", b"STEP = 4", "code/own_aid.py")
    damaged = nasrun(f"rerun {there}/theirs {table}", **bob, NASRUN_ALLOW="own_find")
    assert damaged.returncode == 2
    assert "own_aid.py: is missing or not the run's code" in damaged.stderr
    assert damaged.stdout.splitlines()[-1] == "1 of 2 runs is equal"


def test_a_run_of_a_sweep_is_made_again_beside_the_sweep(nasrun_inprocess: Callable, tmp_path: Path) -> None:
    """Then the runs in the sweep's own folder can still be compared, and also those in an unpacked pack."""
    assert nasrun_inprocess(f"-m {TABLE} strategy=random seed=0,1 hydra.sweep.dir=sweep").returncode == 0
    runs = sorted(path.name for path in (tmp_path / "sweep").iterdir() if path.is_dir())
    for name, place in ((runs[0], "sweep_rerun"), (runs[1], "sweep_rerun"), (runs[0], "sweep_rerun_2")):
        made = nasrun_inprocess(f"rerun sweep/{name}")
        assert made.stdout.rstrip().endswith(f"repeated in {place}/{name}"), made.stderr
    assert nasrun_inprocess("compare sweep --out compared").returncode == 0
    assert nasrun_inprocess("pack sweep --out theirs.zip").returncode == 0
    assert nasrun_inprocess("unpack theirs.zip").returncode == 0
    made = nasrun_inprocess(f"rerun theirs/{runs[1]}")
    assert made.stdout.rstrip().endswith(f"repeated in theirs_rerun/{runs[1]}"), made.stderr


def test_the_command_of_a_run_that_was_extended_is_not_all(nasrun_inprocess: Callable, tmp_path: Path) -> None:
    assert nasrun_inprocess(f"{TABLE} strategy=random hydra.run.dir=run").returncode == 0
    assert nasrun_inprocess("resume run trials=20").returncode == 0
    assert nasrun_inprocess("pack run").returncode == 0
    with zipfile.ZipFile(tmp_path / "run.zip") as archive:
        [command] = archive.read("run/commands.sh").decode().splitlines()
    assert command.endswith("  # run; then: nasrun resume DIR trials=20")


def test_a_pack_repeats_itself(nasrun_inprocess: Callable, tmp_path: Path) -> None:
    assert nasrun_inprocess(f"{TABLE} strategy=random hydra.run.dir=run").returncode == 0
    assert nasrun_inprocess("pack run --out one.zip").returncode == 0
    (tmp_path / "b").mkdir()
    assert nasrun_inprocess("pack run --out b/one.zip").returncode == 0
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "b" / "one.zip").read_bytes()
    assert "one.zip: already exists" in nasrun_inprocess("pack run --out one.zip").stderr
    assert nasrun_inprocess("unpack one.zip").returncode == 0
    assert nasrun_inprocess("unpack one.zip").stderr.startswith("nasrun: one: already exists; choose another")
    assert json.loads((tmp_path / "one" / "environment.json").read_text())["paths"] == {"given": {"dataset.root": None}}
    assert nasrun_inprocess("rerun one").returncode == 0
    assert nasrun_inprocess("report one").returncode == 0
    assert "both are random with seed=0" in nasrun_inprocess("compare one one_rerun --out out").stderr


@pytest.mark.parametrize(
    "name",
    ["../evil.csv", "/trials.csv", "a/../../trials.csv", "run/evil.exe", "run/.hydra/evil.yaml", "trials.csv", "link"],
)
def test_a_pack_of_a_stranger_leads_nowhere(name: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("run/journal.jsonl", "{}")
        entry = zipfile.ZipInfo("run/trials.csv" if name == "link" else name)
        entry.external_attr = (stat.S_IFLNK if name == "link" else stat.S_IFREG) << 16
        archive.writestr(entry, "/etc/passwd")
    with pytest.raises(ConfigError, match=r"is not a pack of runs \(.* is not allowed in it\)"):
        unpack(path, tmp_path / "out")
    assert sorted(tmp_path.iterdir()) == [path]
    assert "own_find" not in sys.modules

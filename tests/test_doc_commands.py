"""Every command of the documentation is what the programs take: composed, parsed, or run."""

import argparse
import contextlib
import re
import shlex
import shutil
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nasrun.cli import launch
from nasrun.config.compose import compose_config, task_config
from nasrun.datasets.fashion_mnist_mini import FashionMnistMini
from nasrun.reports.status.server import Server
from nasrun.runner.run import start
from nasrun.storage import journal
from tests.documentation import PAGES, ROOT, Command, commands, sessions
from tests.runner.test_crash import SCRIPTS, script
from tests.runner.test_shared_runs import SMALL
from tests.tables import tfrecord_writer as writer

VERBS = ("resume", "report", "compare", "export", "predict", "rerun", "pack", "unpack", "reproduce")
VERBS += ("status", "stop", "watch")
RUN_ELSEWHERE = ("docs/extending.md", "docs/own_images.md")
"""Pages whose commands tests/test_docs.py runs as they stand there, one after the other."""

QUIET = ("output.console=none", "output.plots=false")
TRAINED = (
    *QUIET,
    "strategy=random",
    "trials=1",
    "evaluator.epochs=1",
    "search_space=sequential_cnn",
    "search_space.max_depth=3",
    "search_space.filters=[4]",
    "evaluator.final_epochs=null",
    "hardware=cpu",
    "hardware.threads=1",
)
MINI = ("dataset=fashion_mnist_mini", "dataset.train_samples=200")
MADE_UP = (*QUIET, "evaluator=synthetic", "dataset=synthetic", "trials=4")

Call = Callable[[str], Any]


def identify(command: Command) -> str:
    """The name of a command in pytest's output."""
    return shlex.join(command.words)[:80] or command.program


def called(program: str, *others: str) -> Any:
    """Runs a test on the commands that call a program."""
    found = [command for command in commands() if command.program in (program, *others)]
    return pytest.mark.parametrize("command", found, ids=identify)


def make_run(directory: Path, *words: str) -> None:
    """A small finished run, like those in the documentation."""
    config = compose_config(words)
    start(task_config(config), directory, unique=False, choices=dict(config.hydra.runtime.choices))


def make_photos(folder: Path) -> None:
    """A folder of image files in two classes, of real pictures."""
    from PIL import Image

    test = FashionMnistMini().load().test
    for label, name in ((0, "cat"), (1, "ship")):
        (folder / name).mkdir(parents=True)
        for number, image in enumerate(test.images[test.labels == label][:20]):
            Image.fromarray(image[0]).save(folder / name / f"{number}.png")


def make_table(path: Path) -> None:
    """A table of 2,000 dense networks, in which two rows are wrong."""
    rows = [f"{8 + number // 50}-{8 + number % 50},0.9" for number in range(2000)]
    rows[17 - 2], rows[40 - 2] = "128-4,0.9", "128-64,93.5"
    path.write_text("\n".join(["genome,val_accuracy", *rows]) + "\n")


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the runs and files that commands name."""
    folder = tmp_path_factory.mktemp("there")
    make_run(folder / "own", *TRAINED, *MINI)
    make_photos(folder / "photos")
    with contextlib.chdir(folder):
        make_run(Path("run"), *TRAINED, "dataset=image_folder", "dataset.path=photos")
    for name, epochs in (("a", 2), ("b", 5)):
        make_run(folder / name, *TRAINED, *MINI, f"evaluator.epochs={epochs}")
    for seed in range(5):  # of fewer `compare` says that they are few
        for strategy in ("random", "aging_evolution"):
            words = (*MADE_UP, f"seed={seed}", f"strategy={strategy}")
            make_run(folder / "sweep" / f"{seed}_{strategy}", *words)
            for dataset in ("cifar10", "cifar100", "imagenet16"):
                table = ("search_space=nasbench201", "evaluator=table", f"dataset={dataset}", *QUIET, "trials=4")
                place = folder / "three" / f"{dataset}_{seed}_{strategy}"
                make_run(place, *table, f"seed={seed}", f"strategy={strategy}")
    make_table(folder / "mine.csv")
    (folder / "cnn2000.csv").write_text("genome,val_accuracy\nR4k3relu-N8k3relu,0.5\nR16k5relu-R8k3relu,0.6\n")
    make_run(folder / "cells", *SMALL, "strategy=random", "trials=4")
    widths = ("search_space=mlp", "search_space.min_depth=2", "search_space.max_depth=2", "strategy=grid")
    make_run(folder / "outputs/grid2/0_grid_mnist_seed0", *MADE_UP, *widths, "search_space.widths=[16,32]")
    writer.write(folder / "nasbench_only108.tfrecord", [writer.payload(run) for run in writer.runs(0, 40)])
    return folder


@pytest.fixture
def at_hand(there: Path, nasrun_inprocess: Call, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder `there` as the working directory."""
    monkeypatch.chdir(there)
    return there


@called("nasrun", "./scripts/nasrun")
def test_a_command_is_one_that_nasrun_takes(
    command: Command, at_hand: Path, nasrun_inprocess: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    if command.page in RUN_ELSEWHERE or command.words[0] in VERBS:
        return
    monkeypatch.setattr(launch, "show_plan", lambda *_: None)  # it would load the data and train
    before = sorted(at_hand.rglob("*"))
    words = [re.sub(r"^from=.*", "from=cells", word.replace("PATH/nasbench", "nasbench")) for word in command.words]
    # One seed is like another.
    words = [re.sub(r"^seed=range\(\d+\)$", "seed=range(2)", word) for word in words]
    words = [re.sub(r"^seed=(\d+,\d+),.*", r"seed=\1", word) for word in words]
    words += [] if any(word.startswith("seed=") for word in words) else ["seed=0"]
    words += [] if {"--help", "--cfg"} & set(words) else ["dry_run=true"]
    done = nasrun_inprocess(shlex.join(words))
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(at_hand.rglob("*")) == before


def damage(path: Path) -> None:
    """Make a line in the middle of a journal one that is damaged."""
    lines = path.read_bytes().splitlines(keepends=True)
    lines[len(lines) // 2] = lines[len(lines) // 2].replace(b":", b";", 1)
    path.write_bytes(b"".join(lines))


NAMED = {
    "DIR": "own",
    "DIR...": "sweep",
    "IMAGE_OR_FOLDER...": "shoe.png",
    "outputs/2026-11-22/10-15-00_aging_evolution_fashion_mnist": "own",
    "outputs/2026-11-22/10-15-00_aging_evolution_fashion_mnist/export": "own/export",
    "outputs/2026-11-22/10-15-00_sweep": "sweep",
    "outputs/DATE/TIME_sweep": "sweep",
}
"""Placeholders for the user's own files in a command, and their replacements in the folder `there`."""


@pytest.mark.parametrize("verb", VERBS)
def test_the_verbs_take_what_the_documentation_gives_them(
    verb: str, there: Path, nasrun_inprocess: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image

    for name in ("sweep", "own", "run", "three"):
        shutil.copytree(there / name, tmp_path / name)
    shutil.copytree(there / "photos", tmp_path / "moved")
    Image.new("L", (28, 28)).save(tmp_path / "shoe.png")
    if verb == "predict":
        assert nasrun_inprocess("export own --format safetensors").returncode == 0
    if verb in ("rerun", "unpack"):
        assert nasrun_inprocess("pack sweep --out paper.zip").returncode == 0
    if verb == "rerun":
        assert nasrun_inprocess("unpack paper.zip").returncode == 0
    found = [command for command in commands() if command.program == "nasrun" and command.words[0] == verb]
    assert found
    for command in found:
        if command.page in RUN_ELSEWHERE:
            continue
        words = [NAMED.get(word, word) for word in command.words]
        moved = [word for word in words if word.startswith("dataset.path=")]
        if moved:
            words = ["run" if word == "own" else word for word in words]
            words = ["dataset.path=moved" if word in moved else word for word in words]
        elif any(word.startswith("evaluator.final_epochs=") for word in words):
            words = [re.sub(r"^(evaluator\.final_epochs)=\d+$", r"\1=1", word) for word in words]
        elif verb == "resume":  # of a run whose trials take no time
            words = ["sweep/0_random" if word == "own" else word for word in words]
        if "--salvage" in words:
            damage(tmp_path / "sweep" / "0_random" / journal.NAME)
        if verb == "export":
            words += ["--format", "onnx" if "--int8" in words else "safetensors"]
        monkeypatch.setattr(Server, "serve_forever", lambda *_: None)
        if verb == "reproduce":  # what its sweeps are is tried in tests/reports/test_reproduction.py
            words += ["--table"]
        done = nasrun_inprocess(shlex.join(words))
        if verb == "stop":  # none of them is running
            assert done.returncode == 2
            assert "nothing is running" in done.stderr
            continue
        # Of several benchmarks a comparison remarks that there are few.
        said = "" if any(word.startswith("over=") for word in words) else done.stderr
        assert (done.returncode, said) == (0, ""), command


SESSIONS = [block for page in PAGES for block in sessions(page)]


@pytest.mark.parametrize("session", SESSIONS, ids=lambda session: session[0][0])
def test_a_session_prints_what_stands_below_its_commands(
    session: list[tuple[str, str]], there: Path, nasrun_inprocess: Call, tmp_path: Path
) -> None:
    shutil.copytree(there, tmp_path, dirs_exist_ok=True)
    for command, text in session:
        program, *words = shlex.split(command)
        if program == "mv":
            shutil.move(*words)
        elif words[0] == "predict":  # whose numbers are those of one network
            assert text.count(" %") == 2 * 3
        else:
            assert program == "nasrun"
            done = nasrun_inprocess(shlex.join(words))
            assert done.stdout + done.stderr == text


class ParsedError(Exception):
    """The arguments of a script were taken: it goes no further."""


def stopping(parse: Callable[..., Any], inside: list[None]) -> Callable[..., Any]:
    """A way to parse arguments that goes no further than that. `inside`: as many as there are calls in one another: one
    way calls another, and only the outermost refuses what it does not know."""

    def parsed(*given: Any) -> Any:
        inside.append(None)
        try:
            found = parse(*given)
        finally:
            inside.pop()
        if inside:
            return found
        raise ParsedError

    return parsed


@called("python")
def test_a_script_takes_the_arguments(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, name = Path(command.words[0]).parts
    assert folder == "scripts"
    monkeypatch.syspath_prepend(SCRIPTS)  # as Python does for a script
    module = script(name.removesuffix(".py"))
    inside: list[None] = []
    for method in ("parse_args", "parse_known_args", "parse_intermixed_args"):
        parse = getattr(argparse.ArgumentParser, method)
        monkeypatch.setattr(argparse.ArgumentParser, method, stopping(parse, inside))
    monkeypatch.setattr(sys, "argv", list(command.words))
    with pytest.raises(ParsedError):
        module.main()


@called("./scripts/test", "./scripts/setup")
def test_a_shell_script_is_there(command: Command) -> None:
    assert (ROOT / command.program).stat().st_mode & 0o111


def test_extras_that_are_named_are_there() -> None:
    content: Any = tomllib.loads((ROOT / "pyproject.toml").read_text())
    known = {*content["project"]["optional-dependencies"]}
    sources = [
        *PAGES,
        *(ROOT / "conf").rglob("*.yaml"),
        *(ROOT / "nasrun").rglob("*.py"),
        *SCRIPTS.glob("*.py"),
    ]
    named = {
        extra
        for path in sources
        for names in re.findall(r"(?:nasrun|\.)\[([a-z]+(?:,[a-z]+)*)\]", path.read_text(encoding="utf-8"))
        for extra in names.split(",")
    }
    assert {"images", "export", "ray"} <= named
    assert named - known == set()

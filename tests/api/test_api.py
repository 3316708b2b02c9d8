"""The public Python interface: what `docs/api.md` shows runs, and what it promises holds."""

import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas
import pytest
from hydra.core.hydra_config import HydraConfig

import nasrun
from tests.api.parts import LOOKUP, Sampler
from tests.documentation import write_extensions

PAGE = Path(__file__).parents[2] / "docs" / "api.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
[FIFTEEN] = [block for block in BLOCKS if "pyplot" in block]
AGG = {"MPLBACKEND": "agg"}
"""The environment of a program that draws where there is no screen."""


def test_the_page_runs(tmp_path: Path) -> None:
    code = "\n".join(block for block in BLOCKS if block != FIFTEEN)
    assert len(BLOCKS) == 5
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"one", "trained", "shuffled", "evolution"}


def test_a_script_of_fifteen_lines_has_a_space_and_a_strategy_of_its_own(tmp_path: Path) -> None:
    assert len([line for line in FIFTEEN.splitlines() if line]) <= 15
    write_extensions(tmp_path)
    (tmp_path / "script.py").write_text(FIFTEEN)
    words = [sys.executable, "script.py"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False, env=os.environ | AGG)
    assert done.returncode == 0, done.stderr
    genome, accuracy, *answer, label = done.stdout.split()
    assert {*genome.split("-")} <= {"4", "8", "16"}
    assert 0 <= float(accuracy) <= 1
    assert "".join(answer).startswith("['")
    assert 0 <= int(label) <= 9
    assert (tmp_path / "incumbent.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "towers" / "trials.csv").read_text().count(",climb,") == 7


def test_every_public_name_is_there() -> None:
    for name in nasrun.__all__:
        assert getattr(nasrun, name) is not None
    with pytest.raises(AttributeError, match="nothing_of_this_name"):
        nasrun.nothing_of_this_name  # noqa: B018


def test_a_run_equals_that_of_the_command_line(tmp_path: Path, nasrun_inprocess: object) -> None:
    run = nasrun.run([*LOOKUP, "trials=12", "seed=3"], directory=tmp_path / "api", progress=False)
    words = " ".join([*LOOKUP, "trials=12", "seed=3", "output.console=none", "hydra.run.dir=cli"])
    assert nasrun_inprocess(words).returncode == 0  # type: ignore[operator]
    assert (tmp_path / "api" / "genomes.txt").read_bytes() == (tmp_path / "cli" / "genomes.txt").read_bytes()
    assert run.finished
    assert run.best is not None
    assert run.best.score == max(trial.score for trial in run.trials if trial.score is not None)
    assert run.incumbent() == sorted(run.incumbent())
    assert run.incumbent()[-1] == run.best.score


def test_mistakes_are_exceptions_and_leave_nothing(tmp_path: Path) -> None:
    for words in (["evaluator.epoch=3"], ["trials=0"], ["strategy=nope"]):
        with pytest.raises(nasrun.ConfigError):
            nasrun.run(words, directory=tmp_path / "run", progress=False)
    with pytest.raises(nasrun.ConfigError, match="expected a list of words"):
        nasrun.run("trials=3", directory=tmp_path / "run")  # type: ignore[arg-type]
    for wrong, text in (
        ({"trials": 5}, r"\{trials:5\}: expected a list of words, as in \['trials=5'\]"),
        (None, r"null: expected a list of words, as in \['trials=50'\]"),
        ([1, 2], r"\[1,2\]: expected a list of words"),
    ):
        for call in (nasrun.run, nasrun.sweep):
            with pytest.raises(nasrun.ConfigError, match=f"^{text}"):
                call(wrong, directory=tmp_path / "run")  # type: ignore[operator]
        with pytest.raises(nasrun.ConfigError, match=f"^{text}"):
            nasrun.AskTell("nasbench201", "random", wrong)  # type: ignore[arg-type]
    opening: list[Any] = [nasrun.load_run, nasrun.compare, nasrun.resume, lambda path: nasrun.compare([path])]
    for opened in opening:
        for path in (5, None):
            with pytest.raises(nasrun.ConfigError, match=rf"^{path}: expected .*the path of a .*, as in '\S+'$"):
                opened(path)
    for call in (nasrun.run, nasrun.sweep):
        with pytest.raises(nasrun.ConfigError, match=r"^5: expected the path of a directory, as in 'outputs/run'$"):
            call([*LOOKUP], directory=5, progress=False)  # type: ignore[operator]
    with pytest.raises(nasrun.ConfigError, match=r"^by=5: expected a key of the config or a list of them"):
        nasrun.compare(tmp_path, by=5)  # type: ignore[arg-type]
    with pytest.raises(nasrun.ConfigError, match="expected a Strategy"):
        nasrun.run([*LOOKUP], directory=tmp_path / "run", strategy=dict, progress=False)
    with pytest.raises(nasrun.ConfigError, match="hardware: not expected"):
        nasrun.run([*LOOKUP], directory=tmp_path / "run", hardware=object(), progress=False)
    for strategy, text in (
        (nasrun.Strategy, "is the interface; give a class that"),
        (lambda: 3, r"; see docs/api\.md$"),
    ):
        with pytest.raises(nasrun.ConfigError, match=f"^strategy=.*{text}"):
            nasrun.run([*LOOKUP], directory=tmp_path / "run", strategy=strategy, progress=False)
    with pytest.raises(nasrun.ConfigError, match=r"^strategy: given twice"):
        nasrun.run([*LOOKUP, "strategy=random"], directory=tmp_path / "run", strategy=Sampler, progress=False)
    with pytest.raises(nasrun.ConfigError, match=r"^hydra\.run\.dir: given twice"):
        nasrun.run([*LOOKUP, f"hydra.run.dir={tmp_path}/a"], directory=tmp_path / "run", progress=False)
    for call in (nasrun.run, nasrun.sweep):
        with pytest.raises(nasrun.ConfigError, match=r"^dry_run=true: plans are printed by the command line"):
            call([*LOOKUP, "dry_run=true"], directory=tmp_path / "run", progress=False)  # type: ignore[operator]
        for name in ("a\0b", "a" * 300):
            with pytest.raises(nasrun.ConfigError, match=r"not the name of a directory"):
                call([*LOOKUP], directory=tmp_path / name, progress=False)  # type: ignore[operator]
    for word, text in (("seed=0,1,0", "has the value 0 twice"), ("trials=interval(2,9)", "list values: trials=2,9$")):
        with pytest.raises(nasrun.ConfigError, match=f"^{re.escape(word)}: .*{text}"):
            nasrun.sweep([*LOOKUP, word], directory=tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_a_run_and_what_it_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = [*LOOKUP, "trials=3"]
    nasrun.run(words, directory="run", progress=False)
    with pytest.raises(nasrun.ConfigError, match=r"^run: is the directory of a run; choose another folder"):
        nasrun.sweep([*words, "seed=0,1"], directory="run")
    for call in (nasrun.load_run, nasrun.resume):
        with pytest.raises(nasrun.ConfigError, match=r"^strategy=randoom: leave it out"):
            call("run", strategy="randoom")  # type: ignore[operator]
        with pytest.raises(nasrun.ConfigError, match=r"^foo: not expected"):
            call("run", foo=3)  # type: ignore[operator]
    with pytest.raises(nasrun.ConfigError, match=r"^3: expected a key of the config"):
        nasrun.resume("run", {3: "abc"})  # type: ignore[dict-item]
    with pytest.raises(nasrun.ConfigError, match=r"^dry_run=true"):
        nasrun.resume("run", ["dry_run=true"])
    with pytest.raises(nasrun.ConfigError, match=r"^trials=<object .*>: expected a number, text, true"):
        nasrun.resume("run", {"trials": object()})
    for call in (nasrun.load_run, nasrun.resume):
        with pytest.raises(
            nasrun.ConfigError, match=r"^strategy=.*Sampler: leave it out; the run's record names nasrun"
        ):
            call("run", strategy=Sampler)  # type: ignore[operator]
    with pytest.raises(nasrun.ConfigError, match=r"^config_dir=nowhere: no such folder"):
        nasrun.run(words, directory="other", config_dir="nowhere")
    for _ in range(2):
        runs = nasrun.sweep([*words, "seed=0,1"], directory="sweep")
        assert [run.directory for run in runs] == [tmp_path / "sweep" / "0", tmp_path / "sweep" / "1"]
    monkeypatch.chdir("/")
    assert nasrun.compare(runs).groups


@pytest.mark.parametrize("name", ["a=b, c", "x${y}", "[1,2]", "{a:1}", " b", "it's", '"q"', "~/home", "5"])
def test_a_directory_is_a_path_whatever_its_letters(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    words = ["evaluator=synthetic", "output.plots=false", "trials=2"]
    first = nasrun.run(words, directory=name, progress=False)
    assert first.directory == tmp_path / name.removeprefix("~/")
    assert (tmp_path / name.removeprefix("~/") / "journal.jsonl").is_file()
    assert nasrun.resume(name, ["trials=3"]).trials[:2] == nasrun.load_run(name).trials[:2]
    assert nasrun.compare(name, by="strategy").groups == nasrun.compare(first).groups
    (one,) = nasrun.sweep(words, directory=f"{name}_sweep")
    assert one.directory == tmp_path / f"{name}_sweep".removeprefix("~/") / "0"


def test_progress_is_a_choice_of_each_call(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nasrun.run([*LOOKUP, "trials=2"], directory=tmp_path / "run", progress=False)
    nasrun.resume(tmp_path / "run", ["trials=3"], progress=False)
    assert capsys.readouterr().out == ""
    nasrun.resume(tmp_path / "run", ["trials=4"])
    assert "trial 3" in capsys.readouterr().out


def test_a_sweep_goes_on(tmp_path: Path) -> None:
    words = [*LOOKUP, "trials=6", "seed=0,1"]
    first = nasrun.sweep(words, directory=tmp_path / "sweep", strategy="random")
    second = nasrun.sweep(words, directory=tmp_path / "sweep", strategy="random")
    assert [run.directory.name for run in first] == [run.directory.name for run in second] == ["0", "1"]
    assert [run.trials for run in first] == [run.trials for run in second]
    # Other words in the same folder: runs that are there are found by what they are, others are made beside them.
    third = nasrun.sweep([*LOOKUP, "trials=6", "seed=2,1"], directory=tmp_path / "sweep", strategy="random")
    assert [run.directory.name for run in third] == ["0_2", "1"]
    names = ", ".join(str(tmp_path / "sweep" / name) for name in ("0", "0_2", "1"))
    for call in (nasrun.load_run, nasrun.resume):
        with pytest.raises(nasrun.ConfigError, match=f"holds no run .*; runs in it: {names}$"):
            call(tmp_path / "sweep")


def test_a_run_that_was_killed_tells_what_it_came_to(tmp_path: Path) -> None:
    """What tables would hold is made of the journal: a kill leaves nothing but that."""
    words = ["evaluator=synthetic", "output.plots=false", "trials=5"]
    run = nasrun.run(words, directory=tmp_path / "run", progress=False)
    written = json.loads((run.directory / "summary.json").read_text())
    assert {**run.summary, "wall_seconds": 0} == {**written, "wall_seconds": 0}
    table = pandas.read_csv(run.directory / "trials.csv").set_index("trial")
    for name in ("summary.json", "trials.csv"):
        (run.directory / name).unlink()
    killed = nasrun.load_run(run.directory)
    lines = (run.directory / "journal.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "journal.jsonl").write_bytes(b"".join([lines[0], lines[1][:20] + b"\n", *lines[2:]]))
    with pytest.raises(nasrun.JournalError, match="line 2"):
        nasrun.load_run(tmp_path / "damaged")
    assert killed.summary["trials"] == 5
    assert killed.frame().equals(table)


def test_threads_run_at_a_time_and_leave_no_config_of_hydra_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hydra has one state of the process, which takes turns; names of folders follow from each run's own choices."""
    monkeypatch.chdir(tmp_path)
    words = ["evaluator=synthetic", "output.plots=false", "trials=3"]
    before = HydraConfig.instance().cfg

    def search(strategy: str) -> str:
        return nasrun.run(words, strategy=strategy, progress=False).directory.name

    strategies = ["random", "aging_evolution", "genetic", "local_search"]
    with ThreadPoolExecutor(len(strategies)) as pool:
        names = list(pool.map(search, strategies))
    for name, strategy in zip(names, strategies, strict=True):
        assert name.endswith(f"_{strategy}_fashion_mnist_mini")
    assert HydraConfig.instance().cfg is before

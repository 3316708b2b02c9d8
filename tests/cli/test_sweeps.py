"""Sweeps that are interrupted, repeated, extended and moved: their runs are found by what they are."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import yaml

from nasrun.core import Job, Measurement
from nasrun.evaluators.synthetic import Synthetic
from nasrun.storage import journal
from tests.conftest import COMMAND
from tests.faults.runs import results

QUICK = "evaluator=synthetic dataset=synthetic strategy=random output.plots=false output.console=none"


def runs_of(folder: Path) -> dict[str, dict]:
    """The runs below a folder with their configs."""
    found = sorted(path.parent for path in folder.rglob(journal.NAME))
    return {str(run.relative_to(folder)): yaml.safe_load((run / ".hydra" / "config.yaml").read_text()) for run in found}


def seeds_of(folder: Path) -> list[int]:
    return sorted(config["seed"] for config in runs_of(folder).values())


def lengths_of(folder: Path) -> list[int]:
    return [len((folder / run / "genomes.txt").read_text().splitlines()) for run in runs_of(folder)]


def line(answer: "subprocess.CompletedProcess[str]", code: int) -> str:
    assert (answer.returncode, answer.stdout, answer.stderr.count("\n")) == (code, "", 1), answer
    return answer.stderr.removeprefix("nasrun: ").removesuffix("\n")


def interrupted(command: Callable, words: str, monkeypatch: pytest.MonkeyPatch, *, at: int) -> str:
    """The output of a sweep that gets SIGTERM at its n-th trial."""
    real, calls = Synthetic.evaluate, []

    def evaluate(evaluator: Synthetic, jobs: Sequence[Job]) -> Iterator[Measurement]:
        for job in jobs:
            calls.append(1)
            if len(calls) == at:
                os.kill(os.getpid(), signal.SIGTERM)
            yield from real(evaluator, [job])

    with monkeypatch.context() as patched:
        patched.setattr(Synthetic, "evaluate", evaluate)
        return line(command(words), 130)


@pytest.mark.parametrize("folder", ["swept", "my sweep", "a=1,b"])
def test_an_interrupted_sweep_says_how_to_go_on(
    folder: str, nasrun_inprocess: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = shlex.quote(f'hydra.sweep.dir="{folder}"')
    said = interrupted(nasrun_inprocess, f"-m {QUICK} trials=6 seed=1,2,3 {place}", monkeypatch, at=9)
    assert said == f"interrupted; continue the sweep with: nasrun resume {shlex.quote(folder)}"
    assert seeds_of(tmp_path / folder) == [1, 2]
    pasted = said.partition("nasrun ")[2]
    answer = nasrun_inprocess(pasted)
    assert (answer.returncode, answer.stderr) == (0, "")
    assert nasrun_inprocess(f"-m {QUICK} trials=6 seed=1,2,3 hydra.sweep.dir=whole").returncode == 0
    assert list(runs_of(tmp_path / folder)) == list(runs_of(tmp_path / "whole"))
    for run in runs_of(tmp_path / "whole"):
        assert results(tmp_path / folder / run) == results(tmp_path / "whole" / run)


def written(folder: Path) -> dict[Path, tuple[int, int]]:
    """Which files exist, and when they were written."""
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.glob("*/*") if path.is_file()}


def test_a_sweep_that_is_over_stays_as_it_is(nasrun_inprocess: Callable, tmp_path: Path) -> None:
    assert nasrun_inprocess(f"-m {QUICK} trials=4 seed=1,2 hydra.sweep.dir=swept").returncode == 0
    before, files = {path: path.read_bytes() for path in tmp_path.rglob("journal.jsonl")}, written(tmp_path / "swept")
    assert nasrun_inprocess("resume swept").returncode == 0
    assert written(tmp_path / "swept") == files, "a finished run was replayed"
    said = line(nasrun_inprocess(f"-m {QUICK} trials=4 seed=1,2 hydra.sweep.dir=swept"), 2)
    assert said == (
        "swept: already contains runs of this sweep; continue it with: nasrun resume swept; "
        "or choose another: hydra.sweep.dir=PATH"
    )
    assert {path: path.read_bytes() for path in tmp_path.rglob("journal.jsonl")} == before


def test_a_run_that_was_killed_before_its_files_were_written_is_finished(
    nasrun_inprocess: Callable, tmp_path: Path
) -> None:
    assert nasrun_inprocess(f"-m {QUICK} trials=4 seed=1,2 hydra.sweep.dir=swept").returncode == 0
    run = next(iter(tmp_path.glob("swept/*seed1")))
    says = json.loads((run / ".lock").read_text())
    assert says["complete"]
    (run / ".lock").write_text(json.dumps({**says, "complete": False}) + "\n")
    whole, files = (run / "trials.csv").read_bytes(), written(tmp_path / "swept")
    (run / "trials.csv").unlink()
    assert nasrun_inprocess("resume swept").returncode == 0
    assert (run / "trials.csv").read_bytes() == whole
    assert json.loads((run / ".lock").read_text())["complete"]
    changed = {path for path, seen in written(tmp_path / "swept").items() if files[path] != seen}
    assert {path.parent for path in changed} == {run}


def test_runs_are_found_by_what_they_are_and_not_by_their_number(nasrun_inprocess: Callable, tmp_path: Path) -> None:
    words = f"-m {QUICK} trials=4 hydra.sweep.dir=swept resume=true"
    assert nasrun_inprocess(f"{words} seed=5,7").returncode == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("journal.jsonl")}
    assert nasrun_inprocess(f"{words} seed=4,7,6,5").returncode == 0
    assert {path: path.read_bytes() for path in before} == before
    assert {run[-5:]: config["seed"] for run, config in runs_of(tmp_path / "swept").items()} == {
        "seed5": 5,
        "seed7": 7,
        "seed4": 4,
        "seed6": 6,
    }


def test_a_name_that_another_run_has_gets_a_number(nasrun_inprocess: Callable, tmp_path: Path) -> None:
    words = f"-m {QUICK} trials=4 hydra.sweep.dir=swept 'hydra.sweep.subdir=${{hydra.job.num}}' resume=true"
    assert nasrun_inprocess(f"{words} seed=5,7").returncode == 0
    assert nasrun_inprocess(f"{words} seed=4,5").returncode == 0
    assert {run: config["seed"] for run, config in runs_of(tmp_path / "swept").items()} == {"0": 5, "0_2": 4, "1": 7}


def test_runs_of_several_sweeps_may_share_a_folder(nasrun_inprocess: Callable, tmp_path: Path) -> None:
    words = f"{QUICK} trials=4 hydra.sweep.dir=swept"
    assert nasrun_inprocess(f"-m {words} seed=1,2").returncode == 0
    assert nasrun_inprocess(f"-m {words} seed=3,4").returncode == 0
    answer = nasrun_inprocess(f"-m {words} seed=5,1")
    assert answer.returncode == 2
    assert answer.stderr == (
        "nasrun: swept/0_random_synthetic_seed1: already contains this run; add resume=true to continue it\n"
    )
    assert seeds_of(tmp_path / "swept") == [1, 2, 3, 4, 5]


def test_the_same_run_twice_in_one_sweep(nasrun_inprocess: Callable, tmp_path: Path) -> None:
    """It would count twice in a comparison."""
    answer = nasrun_inprocess(f"-m {QUICK} trials=4 seed=1,1 hydra.sweep.dir=swept")
    assert answer.returncode == 2
    assert answer.stderr == "nasrun: seed=1,1: has the value 1 twice; leave one of them out\n"
    assert not list(tmp_path.iterdir())


def test_all_runs_of_a_sweep_can_be_extended(nasrun_inprocess: Callable, tmp_path: Path) -> None:
    assert nasrun_inprocess(f"-m {QUICK} trials=4 seed=1,2 hydra.sweep.dir=swept").returncode == 0
    assert nasrun_inprocess("resume swept trials=6 seed=0,1,2").returncode == 0
    assert (seeds_of(tmp_path / "swept"), lengths_of(tmp_path / "swept")) == ([0, 1, 2], [6, 6, 6])


def test_trials_that_are_swept_tell_runs_apart(nasrun_inprocess: Callable, tmp_path: Path) -> None:
    assert nasrun_inprocess(f"-m {QUICK} trials=3,5 hydra.sweep.dir=swept").returncode == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("journal.jsonl")}
    assert nasrun_inprocess("resume swept trials=2,3,4,5").returncode == 0
    assert sorted(lengths_of(tmp_path / "swept")) == [2, 3, 4, 5]
    assert {path: path.read_bytes() for path in before} == before


def test_a_sweep_that_was_moved(nasrun_inprocess: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted(nasrun_inprocess, f"-m {QUICK} trials=6 seed=1,2 hydra.sweep.dir=swept", monkeypatch, at=4)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "swept").rename(tmp_path / "elsewhere" / "kept")
    assert nasrun_inprocess("resume elsewhere/kept").returncode == 0
    assert lengths_of(tmp_path / "elsewhere" / "kept") == [6, 6]
    assert not (tmp_path / "swept").exists()


def test_a_folder_chooses_nothing_that_runs_code(nasrun_inprocess: Callable, tmp_path: Path) -> None:
    words = f"-m {QUICK} trials=2 seed=1,2"
    assert nasrun_inprocess(f"{words} hydra.sweep.dir=swept").returncode == 0
    original = yaml.safe_load((tmp_path / "swept" / "multirun.yaml").read_text())
    shutil.rmtree(tmp_path / "swept" / "1_random_synthetic_seed2")
    harmful = [
        ("task", "strategy._target_=harm.Strategy"),
        ("task", "++vars.x={_target_:harm.Strategy}"),
        ("task", "vars.secret=${oc.env:HOME}"),
        ("hydra", "hydra/launcher=submitit_local"),
        ("hydra", "+hydra.callbacks.x._target_=harm.Callback"),
        ("hydra", "hydra.sweep.subdir=../../outside"),
        ("hydra", "hydra.job.env_set={PATH:harm}"),
    ]
    (tmp_path / "harm.py").write_text("open('harmed', 'w')\n")
    for kind, word in harmful:
        content = yaml.safe_load(yaml.safe_dump(original))
        content["hydra"]["overrides"][kind].append(word)
        (tmp_path / "swept" / "multirun.yaml").write_text(yaml.safe_dump(content))
        said = line(nasrun_inprocess("resume swept"), 2)
        asked = shlex.quote(word)
        assert said == (f"swept: was started with {asked}, which must be typed again: nasrun resume swept {asked}")
    content = yaml.safe_load(yaml.safe_dump(original))
    (tmp_path / "mine").mkdir()
    source = {"path": str(tmp_path / "mine"), "schema": "file", "provider": "command-line"}
    content["hydra"]["runtime"]["config_sources"].append(source)
    (tmp_path / "swept" / "multirun.yaml").write_text(yaml.safe_dump(content))
    assert f"was started with --config-dir={tmp_path}/mine, which" in line(nasrun_inprocess("resume swept"), 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["harm.py", "mine", "swept"]
    assert seeds_of(tmp_path / "swept") == [1]
    assert nasrun_inprocess("resume swept --config-dir mine").returncode == 0
    assert seeds_of(tmp_path / "swept") == [1, 2]


@pytest.mark.parametrize("content", ["", "trials: 3\n", "hydra: {overrides: 3}\n", "[", "hydra: &x {overrides: *x}\n"])
def test_a_damaged_record_gets_one_line(content: str, nasrun_inprocess: Callable, tmp_path: Path) -> None:
    (tmp_path / "swept").mkdir()
    (tmp_path / "swept" / "multirun.yaml").write_text(content)
    said = line(nasrun_inprocess("resume swept"), 2)
    broken = content.startswith(("[", "hydra: &x"))
    reason = "cannot be read" if broken else "is not a valid record of a sweep"
    assert said.startswith(f"swept/multirun.yaml: {reason}")


def test_what_was_typed_for_hydra_is_in_the_hint(
    nasrun_inprocess: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine" / "experiment").mkdir(parents=True)
    (tmp_path / "mine" / "experiment" / "own.yaml").write_text("# @package _global_\nstrategy: {population: 3}\n")
    monkeypatch.setenv("TRIALS", "6")
    words = (
        f"{QUICK.replace('=random', '=aging_evolution')} experiment=own strategy.sample=2 'trials=${{oc.env:TRIALS}}'"
    )
    more = "--config-dir=mine hydra.sweep.dir=swept 'hydra.sweep.subdir=${hydra.job.num}'"
    said = interrupted(nasrun_inprocess, f"-m {words} {more} seed=1,2", monkeypatch, at=4)
    again = "--config-dir=mine 'trials=${oc.env:TRIALS}' 'hydra.sweep.subdir=${hydra.job.num}'"
    assert said == f"interrupted; continue the sweep with: nasrun resume swept {again}"
    assert nasrun_inprocess(said.partition("nasrun ")[2]).returncode == 0
    assert (list(runs_of(tmp_path / "swept")), lengths_of(tmp_path / "swept")) == (["0", "1"], [6, 6])


def test_sweeps_of_the_same_second_have_folders_of_their_own(nasrun: Callable, tmp_path: Path) -> None:
    # A name by the clock that stays the same for a year stands for starts within one second.
    words = f"-m {QUICK} trials=2 seed=1,2 'hydra.sweep.dir=${{now:%Y}}'"
    processes = [subprocess.Popen([COMMAND, *shlex.split(words)], cwd=tmp_path) for _ in range(2)]
    assert [process.wait() for process in processes] == [0, 0]
    assert nasrun(words).returncode == 0
    year = time.strftime("%Y")
    assert sorted(path.name for path in tmp_path.iterdir()) == [year, f"{year}_2", f"{year}_3"]
    assert all(seeds_of(folder) == [1, 2] for folder in tmp_path.iterdir())


def test_a_sweep_that_hydra_refuses_leaves_nothing(nasrun_inprocess: Callable, tmp_path: Path) -> None:
    said = line(nasrun_inprocess(f"-m {QUICK} 'trials=interval(1,5)'"), 2)
    assert said == "BasicSweeper does not support sweep type : INTERVAL_SWEEP"
    assert list(tmp_path.iterdir()) == []


def test_a_sweeper_that_takes_intervals(nasrun: Callable, tmp_path: Path) -> None:
    plugin = tmp_path / "plugins" / "hydra_plugins" / "ends.py"
    plugin.parent.mkdir(parents=True)
    plugin.write_text(ENDS)
    option = tmp_path / "mine" / "hydra" / "sweeper" / "ends.yaml"
    option.parent.mkdir(parents=True)
    option.write_text("_target_: hydra_plugins.ends.Ends\n")
    words = f"-m --config-dir=mine hydra/sweeper=ends {QUICK} hydra.sweep.dir=swept seed=0"
    done = nasrun(f"{words} 'trials=interval(2,5)'", PYTHONPATH=str(plugin.parents[1]))
    assert (done.returncode, done.stderr) == (0, "")
    assert [config["trials"] for config in runs_of(tmp_path / "swept").values()] == [2, 5]
    done = nasrun(f"{words} 'trials=interval(0,5)'", PYTHONPATH=str(plugin.parents[1]))
    assert (done.returncode, done.stderr) == (2, "nasrun: trials=0: must be at least 1\n")


ENDS = '''
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper


class Ends(Sweeper):
    """Runs both ends of each interval."""

    def setup(self, *, hydra_context, task_function, config):
        self.config, self.hydra_context = config, hydra_context
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments):
        parsed = OverridesParser.create().parse_overrides(arguments)
        jobs = []
        for end in ("start", "end"):
            words = []
            for one in parsed:
                drawn = one.is_interval_sweep()
                words.append(f"{one.key_or_group}={int(getattr(one.value(), end))}" if drawn else one.input_line)
            jobs.append(words)
        return self.launcher.launch(jobs, initial_job_idx=0)
'''


def test_each_run_is_announced(nasrun_inprocess: Callable, tmp_path: Path) -> None:
    words = QUICK.replace("console=none", "console=plain").replace("strategy=random ", "")
    answer = nasrun_inprocess(f"-m {words} trials=2 strategy=random,genetic seed=1,2 hydra.sweep.dir=swept")
    said = [text for text in answer.stdout.splitlines() if text.startswith("run ") and " of " in text]
    assert said == [
        "run 1 of 4: strategy=random seed=1",
        "run 2 of 4: strategy=random seed=2",
        "run 3 of 4: strategy=genetic seed=1",
        "run 4 of 4: strategy=genetic seed=2",
    ]
    assert "HYDRA" not in answer.stdout


def test_a_large_sweep_speaks_before_all_of_it_is_checked(nasrun_inprocess: Callable, tmp_path: Path) -> None:
    words = QUICK.replace("console=none", "console=plain")
    answer = nasrun_inprocess(f"-m {words} trials=2,3,4,5,x seed='range(10)'")
    assert answer.returncode == 2
    assert answer.stdout == "sweep: checking its 50 runs before the first one starts\n"
    assert answer.stderr == "nasrun: trials=x: expected a whole number\n"
    assert list(tmp_path.iterdir()) == []


def test_the_command_of_a_run_is_its_own(nasrun_inprocess: Callable, tmp_path: Path) -> None:
    assert nasrun_inprocess(f"-m {QUICK} trials=3 seed=1,2 vars.n=7 hydra.sweep.dir=swept").returncode == 0
    for run, config in runs_of(tmp_path / "swept").items():
        words = yaml.safe_load((tmp_path / "swept" / run / ".hydra" / "overrides.yaml").read_text())
        assert nasrun_inprocess(shlex.join([*words, f"hydra.run.dir=alone{config['seed']}"])).returncode == 0
        alone = tmp_path / f"alone{config['seed']}"
        assert yaml.safe_load((alone / ".hydra" / "config.yaml").read_text()) == config
        assert (alone / "genomes.txt").read_bytes() == (tmp_path / "swept" / run / "genomes.txt").read_bytes()


def test_a_key_that_only_the_swept_options_have(nasrun_inprocess: Callable, tmp_path: Path) -> None:
    # Hydra composes a config without what is swept first, in which the default strategy has no such key.
    words = f"-m {QUICK.replace('=random', '=asha,hyperband')} 'strategy.budgets=[1,2]' trials=3 hydra.sweep.dir=swept"
    answer = nasrun_inprocess(words)
    assert (answer.returncode, answer.stderr) == (0, "")
    assert [config["strategy"]["budgets"] for config in runs_of(tmp_path / "swept").values()] == [[1, 2], [1, 2]]
    for run in runs_of(tmp_path / "swept"):
        listed = (tmp_path / "swept" / run / ".hydra" / "overrides.yaml").read_text()
        assert "\n- strategy.budgets=[1,2]\n" in listed
    assert nasrun_inprocess("resume swept seed=0,1").returncode == 0
    assert seeds_of(tmp_path / "swept") == [0, 0, 1, 1]
    said = line(nasrun_inprocess(words.replace("budgets", "budgots").replace("swept", "other")), 2)
    assert said == "strategy.budgots: no such key; did you mean 'budgets'?"


def test_a_value_of_ones_own_takes_the_place_of_what_an_experiment_sweeps(
    nasrun_inprocess: Callable, tmp_path: Path
) -> None:
    own = tmp_path / "conf" / "experiment" / "grid.yaml"
    own.parent.mkdir(parents=True)
    own.write_text(
        "# @package _global_\nvars: {n: 1}\ntrials: ${vars.n}\n"
        "hydra: {mode: MULTIRUN, sweeper: {params: {vars.n: '2,3,4', seed: '0,1'}}}\n"
    )
    words = f"{QUICK} --config-dir conf experiment=grid hydra.sweep.dir=swept"
    for values, expected in (("5,6", [5, 5, 6, 6]), ("5", [5, 5])):
        assert nasrun_inprocess(f"{words}{len(expected)} vars.n={values}").returncode == 0
        swept = tmp_path / f"swept{len(expected)}"
        assert sorted(config["trials"] for config in runs_of(swept).values()) == expected
        assert nasrun_inprocess(f"resume {swept.name} --config-dir=conf").returncode == 0
        assert len(runs_of(swept)) == len(expected)

"""What a user can get wrong in a command, and the one line that each mistake is answered with.

Every answer: exit code 2, one line on stderr, nothing on stdout, nothing created or changed.
"""

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from nasrun.core.config_files import GROUPS, conf_dir

LONG, TOO_LONG = 300 * "n", "nnn…: the name is too long; choose a shorter one"
VERBS = ("resume", "report", "rerun", "compare", "export", "predict", "pack", "unpack", "status", "stop", "watch")

KEYS = [
    ("evaluator.epochs=abc", "evaluator.epochs=abc: expected a whole number"),
    ("evaluator.epoch=3", "evaluator.epoch: no such key; did you mean 'epochs'?"),
    ("+evaluator.epoch=3", "evaluator.epoch: no such key; did you mean 'epochs'?"),
    ("++evaluator.epoch=3", "evaluator.epoch: no such key; did you mean 'epochs'?"),
    ("~evaluator.epoch", "evaluator.epoch: no such key; did you mean 'epochs'?"),
    ("stratgy=random", "stratgy: no such key; did you mean 'strategy'?"),
    ("seeed=3", "seeed: no such key; did you mean 'seed'?"),
    ("+foo=3", "foo: no such key; known: baseline, changed_code, constraints, "),
    ("output.plot=false", "output.plot: no such key; did you mean 'plots'?"),
    ("outputs.plots=false", "outputs: no such key; did you mean 'output'?"),
    ("strategy.sample.size=1", "strategy.sample.size: no such key; strategy.sample is a single value"),
    ("strategy=random strategy.population=3", "strategy.population: no such key; none are known here"),
    ("dataset.root=/nonexistent", "dataset.root: no such key; known: split_seed, train_samples, validation"),
    ("hydra.run.dirr=x", "hydra.run.dirr: no such key; did you mean 'dir'?"),
    ("hydra.rn.dir=x", "hydra.rn: no such key; did you mean 'run'?"),
    ("=3", "=3: cannot be read; expected key=value"),
    ("trials=3=4", "trials=3=4: expected a whole number"),
    (
        "search_space=sequential_cnn search_space.filters=[8,16",
        "search_space.filters=[8,16: expected a list in [ ], each entry a whole number",
    ),
    ("trials='${seed'", "trials=${seed: cannot be read; expected key=value"),
    ("trials='${nope}'", "trials: Interpolation key 'nope' not found"),
    ("aging_evolution", "aging_evolution: neither a verb nor key=value; did you mean strategy=aging_evolution?"),
    ("trials", "trials: neither a verb nor key=value; did you mean trials=VALUE?"),
    ("strategy = random", "strategy: neither a verb nor key=value; did you mean strategy=OPTION?"),
    ("trials=3 parameters", "parameters: neither a verb nor key=value; did you mean constraints.parameters=VALUE?"),
    ("synthetic", "did you mean evaluator=synthetic or dataset=synthetic?"),
]

OPTIONS = [
    (
        "reproduction=slides_swarm",
        "reproduction=slides_swarm: is run by a verb; type: nasrun reproduce slides_swarm",
    ),
    ("strategy=agng_evolution", "strategy=agng_evolution: no such option; did you mean 'aging_evolution'?"),
    ("strategy=null", "strategy=null: expected the name of an option; known: abc, aging_evolution, "),
    ("strategy=3", "strategy=3: expected the name of an option"),
    ("strategy=[random,genetic]", "strategy=[random,genetic]: expected the name of an option"),
    ("strategy=", "strategy=: no such option; known: abc, aging_evolution, "),
    ("~strategy", "strategy: not chosen; known: abc, aging_evolution, "),
    ("tracker=tensorbord", "tracker=tensorbord: no such option; did you mean 'tensorboard'?"),
    ("tracker=tensorboard tracker.detailed=-1", "tracker.tensorboard.detailed=-1: must be at least 0"),
    (
        "tracker=mlflow tracker.uri=postgresql://x",
        "tracker.mlflow.uri=postgresql://x: neither a local store nor a server; expected sqlite:///FILE or http://HOST:PORT",
    ),
    ("tracker=wandb tracker.project=a/b", "tracker.wandb.project=a/b: / cannot be part of it; expected a short name"),
    ("evaluator=trian", "evaluator=trian: no such option; did you mean 'train'?"),
    ("dataset=fashon_mnist", "dataset=fashon_mnist: no such option; did you mean 'fashion_mnist'?"),
    ("experiment=nope", "experiment=nope: no such option; known: "),
    ("+experiment=smoke", "+experiment=smoke: nothing to add to; write experiment=smoke"),
    ("experiment=smoke evaluator.epoch=1", "evaluator.epoch: no such key; did you mean 'epochs'?"),
    ("hydra/launcher=nope", "hydra/launcher=nope: no such option; known: "),
    ("strategy._target_=nasrun.nope.Foo", "strategy._target_=nasrun.nope.Foo: cannot be imported (No module named"),
    ("strategy._target_=null", "strategy._target_=null: cannot be imported"),
    ("strategy._target_=nasrun.core.seeding.generator", "expected a class that implements nasrun.core.Strategy"),
    ("strategy._target_=nasrun.core.Strategy", "expected a class that implements nasrun.core.Strategy"),
    (
        "evaluator._target_=nasrun.strategies.random.Random",
        "evaluator._target_=nasrun.strategies.random.Random: expected a class that implements nasrun.core.Evaluator",
    ),
]

VALUES = [
    ("trials=-1", "trials=-1: must be at least 1"),
    ("trials=0", "trials=0: must be at least 1"),
    ("trials=1.5", "trials=1.5: expected a whole number"),
    ("trials=", "trials=: expected a whole number"),
    ("trials=null", "trials=null: expected a whole number"),
    ("trials=true", "trials=true: expected a whole number"),
    ("trials=1e400", "trials=inf: expected a whole number"),
    ("seed=-1", "seed=-1: must be at least 0"),
    ("seed=0,1", "seed=0,1: several values make a sweep, which needs -m"),
    ("max_failures=0", "max_failures=0: must be at least 1"),
    ("evaluator.micro_batch=0", "evaluator.micro_batch=0: must be at least 1"),
    ("evaluator.retry_parts=1", "evaluator.retry_parts=1: must be at least 2"),
    ("hardware.grace=0", "hardware.grace=0: must be above 0"),
    ("deduplicate=yes", "deduplicate=yes: unknown; known: never, resample, reuse"),
    ("debug=1", "debug=1: expected true or false"),
    ("output=3", "output=3: expected keys below output, as in output.KEY=VALUE"),
    ("objective=null", "objective=null: expected keys below objective, as in objective.KEY=VALUE"),
    ("output.keep=everything", "output.keep=everything: unknown; known: all, best, none"),
    ("objective.metric=acuracy", "objective.metric=acuracy: not reported by this evaluator", "'val_accuracy'?"),
    ("objective.mode=maximum", "objective.mode=maximum: unknown; did you mean 'max'?"),
    (
        "objective=[val_accuracy,acuracy]",
        "objective.metric=[val_accuracy,acuracy]: acuracy is not reported by this evaluator; ",
        "did you mean 'val_accuracy'?",
    ),
    ("objective=latency", "objective.metric=latency: not reported by this evaluator; did you mean 'latency_ms'?"),
    ("objective=[flops,flops]", "objective.metric=[flops,flops]: must not hold the same entry twice"),
    ("objective=[auto,val_accuracy]", "objective.metric=[auto,val_accuracy]: val_accuracy, val_accuracy: the same"),
    ("objective=[]", "objective.metric=[]: must not be empty"),
    ("objective=[flops", "objective.metric=[flops: not reported by this evaluator; did you mean 'flops'?"),
    (
        "objective=[val_accuracy,flops] objective.mode=max",
        "objective.mode=max: expected one for each metric, 2 in [ ], with objective.metric=[val_accuracy,flops]",
    ),
    ("objective=[val_accuracy,flops] objective.reference=[0.5]", "objective.reference=[0.5]: expected one for each"),
    ("constraints.latency_ms=0", "constraints.latency_ms=0: must be above 0"),
    (
        "constraints.latency_ms=5 evaluator=supernet search_space=macro_cnn",
        "constraints.latency_ms=5: weights that all architectures share have no latency; choose evaluator=train",
    ),
    ("strategy=nsga2 strategy.population=1", "strategy.population=1: must be at least 2"),
    ("strategy.sample=200", "strategy.sample=200: larger than population=8; at most the population is right"),
    ("strategy.population=nan", "strategy.population=nan: expected a whole number"),
    ("strategy=genetic strategy.elitism=8", "strategy.elitism=8: ", "must be below population=8"),
    (
        "search_space=sequential_cnn strategy.mutations=[swop]",
        "strategy.mutations=swop: no such mutation of this space; did you mean 'swap'?",
    ),
    ("search_space=sequential_cnn strategy.mutations=[]", "strategy.mutations=[]: must not be empty"),
    (
        "search_space=sequential_cnn strategy.mutations=[swap,swap]",
        "strategy.mutations=[swap,swap]: must not hold the same entry twice",
    ),
    ("strategy.mutations=swap", "strategy.mutations=swap: expected a list in [ ], each entry text or null"),
    ("search_space=sequential_cnn search_space.min_depth=9", "search_space.min_depth=9: larger than max_depth=6"),
    ("search_space=sequential_cnn search_space.filters=[600]", "search_space.filters=[600]: must be from 1 to 511"),
    ("search_space=sequential_cnn search_space.filters=[true]", "search_space.filters=[true]: expected a whole number"),
    ("search_space=sequential_cnn search_space.kernels=[7]", "search_space.kernels=[7]: unknown; known: 1, 3, 5"),
    (
        "search_space=sequential_cnn search_space.activations=[relux]",
        "search_space.activations=[relux]: unknown; did you mean 'relu'?",
    ),
    ("evaluator.lr=-1", "evaluator.lr=-1: must be above 0"),
    ("evaluator.lr=nan", "evaluator.lr=nan: expected a number"),
    (f"evaluator.lr=1{'0' * 400}", "evaluator.lr=1000", "...: expected a number"),
    ("evaluator.batch_size=0", "evaluator.batch_size=0: must be at least 1"),
    ("evaluator.momentum=1.5", "evaluator.momentum=1.5: must be from 0 to below 1"),
    ("evaluator.optimizer=rmsprop", "evaluator.optimizer=rmsprop: unknown; known: adadelta, adam, adamw, sgd"),
    ("dataset.validation=0", "dataset.validation=0: must be from 0.01 to 0.9"),
    ("dataset.train_samples=1000000", "dataset.train_samples=1000000: must be at most 9000"),
    ("dataset=arrays", "dataset.path: not set; give it as dataset.path=... (text)"),
    ("dataset=arrays dataset.path=gone.npz", "dataset.path=gone.npz: no such file"),
    ("dataset=fashion_mnist dataset.root=/nonexistent", "dataset.root=/nonexistent: ", " is missing"),
    ("hardware.device=tpu", "hardware.device=tpu: unknown; did you mean 'cpu'?"),
    ("hardware.precision=fp16 hardware.device=cpu", "hardware.precision=fp16: needs device=cuda", "bf16 or fp32"),
    ("hardware.threads=0", "hardware.threads=0: must be at least 1"),
    ("hardware=ray hardware.cpus=1.5", "hardware.cpus=1.5: more than one must be a whole number"),
    ("hardware=ray hardware.address=here", "hardware.address=here: expected auto, host:port or ray://host:port"),
    ("hardware=ray hardware.gpus=1 hardware.device=cpu", "hardware.gpus=1: device=cpu uses none", "gpus=0"),
    (
        "constraints.parameters=10",
        "constraints.parameters=10: none",
        ": none of 10,000 random architectures",
        "the least among them: 230 parameters",
    ),
    (
        "constraints.flops=10 constraints.parameters=2000",
        "constraints.parameters=2000 constraints.flops=10: ",
        r" flops",
    ),
    ("constraints.flops=lots", "constraints.flops=lots: "),
    ("strategy=asha strategy.max_budget=2", "strategy.max_budget=2: leaves one rung only", "min_budget * eta = 3"),
    ("strategy=asha strategy.budgets=[9,3]", "strategy.budgets=[9, 3]: expected two or more numbers of epochs"),
    ("strategy=asha strategy.eta=1", "strategy.eta=1: must be at least 2"),
    ("strategy=successive_halving strategy.configurations=8", "strategy.configurations=8: ", "; at least 9 is right"),
    ("strategy=hyperband strategy.configurations=9", "strategy.configurations=9: hyperband has its own numbers"),
    (
        "strategy=asha evaluator=table search_space=nasbench201",
        "strategy.budgets=[1,3,9]: table nasbench201 has no trainings of 1 epoch; it has those of 12, 200",
    ),
    (
        "strategy=asha evaluator=supernet search_space=macro_cnn",
        "strategy.budgets=[1,3,9]: weights that all architectures share have no budgets",
    ),
    ("dataset=arrays dataset.path=2024", """dataset.path=2024: expected text; in quotes: 'dataset.path="2024"'"""),
    ("dataset=arrays dataset.path=1e5", """dataset.path=1e5: expected text; in quotes: 'dataset.path="1e5"'"""),
    (
        "dataset=arrays dataset.path=2024_01",
        """dataset.path=2024_01: expected text; in quotes: 'dataset.path="2024_01"'""",
    ),
    (
        "dataset=arrays dataset.path=~nobody.is/x",
        "~nobody.is/x: no home folder is known for a user nobody.is; ",
        "./~nobody.is/x",
    ),
    ("dataset=arrays ++dataset.path=null", """dataset.path=null: expected text; in quotes: 'dataset.path="null"'"""),
    ("dataset=arrays dataset.path=[x]", """dataset.path=[x]: expected text; in quotes: 'dataset.path="[x]"'"""),
    ("dataset=arrays dataset.path=a,b.npz", """several values make""", """as one text: 'dataset.path="a,b.npz"'"""),
    ("vars=5", "vars=5: expected keys below vars, as in vars.KEY=VALUE"),
    ("evaluator.schedule_epochs=1", "evaluator.schedule_epochs=1: the schedule would end before the training does"),
]

FLAGS = [
    ("--foo", "--foo: no such flag; "),
    ("--multirn", "--multirn: no such flag; did you mean '--multirun'?"),
    ("--config-dir", "--config-dir", "expected one argument"),
    ("--config-dir=/nonexistent", "--config-dir=/nonexistent: no such folder"),
    ("--config-path=/nonexistent", "--config-path=/nonexistent: ", "--config-dir=/nonexistent"),
    ("--config-name=nope", "--config-name=nope: no such file"),
    ("--cfg foo", "invalid choice: 'foo'"),
    ("--cfg job strategy=agng_evolution", "strategy=agng_evolution: no such option; did you mean 'aging_evolution'?"),
    ("--cfg job -m", "--cfg --multirun: only one of these at a time"),
    ("--resolve", "--resolve: goes with --cfg"),
    ("resume", "resume: expected a run directory; usage: nasrun resume DIR"),
    ("resume --salvage", "resume: expected a run directory; usage: nasrun resume DIR"),
    ("resume --slavage run", "unrecognized arguments: --slavage; usage: nasrun resume DIR"),
    ("report --all run", "unrecognized arguments: --all; usage: nasrun report DIR"),
    ("report a=b", "report: expected a run directory; usage: nasrun report DIR"),
    ("trials=2 --multirn seed=1,2", "--multirn: no such flag; did you mean '--multirun'?"),
    ("trials=2 --config-dir", "--config-dir", "expected one argument"),
    ("trials=2 --config-dir=/nonexistent seed=1", "--config-dir=/nonexistent: no such folder"),
    ("--run -m", "--multirun --run: only one of these at a time"),
    ("--package strategy", "--package: goes with --cfg"),
    ("--experimental-rerun config.pickle", "--experimental-rerun: no such flag; "),
    ("hydra.searchpath=[/nonexistent]", "hydra.searchpath: /nonexistent: no such folder"),
    ("hydra.searchpath=[3]", "hydra.searchpath=[3]: expected a list of folders in [ ]"),
    ("hydra.job.chdir=true", "hydra.job.chdir=true: a run stays in the folder that it was started in"),
    ("hydra.output_subdir=x", "hydra.output_subdir=x: nasrun keeps the config of a run itself, in .hydra"),
    ("hydra.searchpath=[pkg://no_such_package.x]", "hydra.searchpath: pkg://no_such_package.x: no such package in"),
    ("--config-dir=. --config-dir=own", "--config-dir=own: --config-dir was given before", "'hydra.searchpath=[own]'"),
    ("-cn=config -cn own", "--config-name=own: --config-name was given before"),
    ("'vars.ä=3'", "vars.ä=3: cannot be read"),
    (f"hydra.run.dir={LONG}", TOO_LONG),
    (f"-m seed=1,2 hydra.sweep.dir={LONG}", TOO_LONG),
    (f"-m seed=1,2 hydra.sweep.dir=swept hydra.sweep.subdir={LONG}", TOO_LONG),
    ("-m seed=1,2 hydra.sweep.dir=swept 'hydra.sweep.subdir=${nope}'", "hydra.sweep.subdir: Interpolation key 'nope'"),
    (f"--config-dir={LONG}", TOO_LONG),
    (f"dataset=arrays dataset.path={LONG}", TOO_LONG),
    (f"dataset=image_folder dataset.path={LONG}", TOO_LONG),
    *((f"{verb} {LONG} x.png"[: None if verb == "predict" else -6], TOO_LONG) for verb in VERBS),
    ("resume trials=5", "resume: expected a run directory; usage: nasrun resume DIR"),
    ("resume gone", "gone: no such directory"),
    ("resume .", r".: holds no run that could be resumed"),
    ("report", "report: expected a run directory; usage: nasrun report DIR"),
    ("rseume run", "rseume: neither a verb nor key=value; did you mean resume DIR or "),
]

SWEEPS = [
    ("-m strategy=random,agng_evolution", "strategy=agng_evolution: no such option; did you mean 'aging_evolution'?"),
    ("-m seed=0,abc strategy=random,genetic", "seed=abc: expected a whole number"),
    ("-m seed='range(0,x)'", "seed=range(0,x): cannot be read"),
    ("-m seed='interval(0,3)'", "BasicSweeper does not support sweep type : INTERVAL_SWEEP"),
    ("-m seed='interval(a,3)'", "seed=interval(a,3): cannot be read"),
    ("-m hydra.mode=RUN,MULTIRUN", "hydra.mode=RUN,MULTIRUN"),
    ("-m strategy='glob(z*)'", "strategy=glob(z*): matches nothing"),
    ("-m strategy='glob(*)' trials=0", "trials=0: must be at least 1"),
    ("hydra.mode=MULTIRUN trials=0", "trials=0: must be at least 1"),
]

IN_FOLDERS = [
    ("hydra.run.dir=run", "run holds a run already; go on with it: nasrun resume run"),
    ("hydra.run.dir=full", "full is not an empty folder; choose another: hydra.run.dir=PATH"),
    ("hydra.run.dir=full/file", "full/file is not an empty folder; choose another: hydra.run.dir=PATH"),
    ("hydra.run.dir=full/file/run", "full/file: is a file, so full/file/run cannot be made; choose another"),
    ("hydra.run.dir='${nope}/x'", "hydra.run.dir: Interpolation key 'nope' not found"),
    (
        "evaluator=synthetic trials=6 hydra.run.dir=run resume=true seed=4",
        "seed=4: would change the search, which ran with 0",
    ),
    ("resume full", "full: holds no run that could be resumed"),
    ("resume run strategy.population=5", "strategy.population=5: would change the search, which ran with 8"),
    ("resume run tracker=tensorbord", "tracker=tensorbord: no such option; did you mean 'tensorboard'?"),
    ("resume run trials=3", "trials=3: 6 are already there; a run can only be extended"),
    ("resume run --salvage", "run/journal.jsonl: is not damaged; go on with: nasrun resume run"),
    ("resume --salvage full", "full: holds no run that could be resumed"),
    ("resume run trials=abc", "trials=abc: expected a whole number"),
    ("resume run trials=[", "trials=[: expected a whole number"),
    ("resume run trials=5,6", "trials=5,6: several values make a sweep"),
    ("resume run trials='${nope}'", "trials=${nope}: cannot be read (Interpolation key 'nope' not found)"),
    ("resume run --config-dir=mine trials=9", "--config-dir: a run has its config in its directory; leave it out"),
    ("resume mine", "mine: holds no run that could be resumed", "and no sweep"),
    ("resume run trals=9", "trals: no such key in this run; did you mean 'trials'?"),
    ("resume run trials", "trials: expected key=value"),
    ("report run trials=3", "trials=3: not expected; usage: nasrun report DIR"),
    ("--config-dir=mine strategy=gone", "strategy._target_=gone_away.Strategy: cannot be imported"),
    ("--config-dir=mine strategy=broken", "strategy._target_=broken_module.Strategy: cannot be imported (no good)"),
    ("--config-dir=mine strategy=agng_evolution", "strategy=agng_evolution: no such option", "'aging_evolution'?"),
    ("--config-dir=mine experiment=typo", "evaluator.epoch"),
    ("--config-dir=mine experiment=sweep", "seed=abc: expected a whole number"),
    ("--config-dir=mine experiment=sweep seed=0,xyz", "seed=xyz: expected a whole number"),
    ("--config-dir=mine experiment=damaged", "damaged.yaml:3: cannot be read ("),
]

AS_COMMAND = [
    ("evaluator.epoch=3", "evaluator.epoch: no such key; did you mean 'epochs'?"),
    ("strategy=agng_evolution", "strategy=agng_evolution: no such option; did you mean 'aging_evolution'?"),
    ("hardware.device=cuda", "hardware.device=cuda: no CUDA device is usable here; hardware.device=cpu is"),
    ("-m strategy=random,agng_evolution", "strategy=agng_evolution: no such option; did you mean 'aging_evolution'?"),
    ("resume gone", "gone: no such directory"),
]


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a run of six trials, in the default population of eight."""
    from omegaconf import OmegaConf

    from nasrun.config.compose import compose_config, task_config
    from nasrun.runner.run import start

    directory = tmp_path_factory.mktemp("mistakes") / "run"
    words = ["evaluator=synthetic", "trials=6", "output.plots=false", "output.console=none"]
    config = task_config(compose_config(words))
    assert OmegaConf.select(config, "strategy.population") == 8
    start(config, directory, unique=False)
    return directory


def snapshot(folder: Path) -> dict[str, bytes | None]:
    """Every file below a folder with its content, and every folder."""
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def assert_one_line(answer: "subprocess.CompletedProcess[str]", fragments: tuple[str, ...]) -> None:
    assert answer.returncode == 2, answer
    assert answer.stdout == ""
    assert re.fullmatch(r"nasrun: [^\n]+\n", answer.stderr), answer.stderr
    for fragment in fragments:
        assert fragment in answer.stderr
    assert "Traceback" not in answer.stderr


def words(row: tuple[str, ...]) -> str:
    return row[0][:60]


@pytest.mark.parametrize("row", [*KEYS, *OPTIONS, *VALUES, *FLAGS, *SWEEPS], ids=words)
def test_mistake_gets_one_line(row: tuple[str, ...], nasrun_inprocess: Callable, tmp_path: Path) -> None:
    assert_one_line(nasrun_inprocess(row[0]), row[1:])
    assert snapshot(tmp_path) == {}


@pytest.mark.parametrize("row", IN_FOLDERS, ids=words)
def test_mistake_about_a_folder_gets_one_line(
    row: tuple[str, ...],
    nasrun_inprocess: Callable,
    tmp_path: Path,
    finished_run: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shutil.copytree(finished_run, tmp_path / "run")
    files = {
        "full/file": "",
        "mine/strategy/gone.yaml": "_target_: gone_away.Strategy\n",
        "mine/strategy/broken.yaml": "_target_: broken_module.Strategy\n",
        "mine/broken_module.py": "raise RuntimeError('no good')\n",
        "mine/experiment/typo.yaml": "# @package _global_\nevaluator:\n  epoch: 3\n",
        "mine/experiment/sweep.yaml": "# @package _global_\nhydra:\n  mode: MULTIRUN\n  sweeper:\n    params:\n"
        "      seed: 0,abc\n",
        "mine/experiment/damaged.yaml": "# @package _global_\ntrials: [\n",
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    monkeypatch.syspath_prepend(tmp_path / "mine")
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    before = snapshot(tmp_path)
    assert_one_line(nasrun_inprocess(row[0]), row[1:])
    assert snapshot(tmp_path) == before


def test_working_folder_is_not_replaced_by_a_run(nasrun_inprocess: Callable, tmp_path: Path) -> None:
    answer = nasrun_inprocess("evaluator=synthetic hydra.run.dir=.")
    assert_one_line(answer, ("hydra.run.dir=.: the folder that nasrun is run in; choose another",))
    assert snapshot(tmp_path) == {}


def test_folder_that_was_there_stays_when_its_run_never_begins(nasrun_inprocess: Callable, tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    answer = nasrun_inprocess("dataset=arrays dataset.path=gone.npz hydra.run.dir=kept/a/b")
    assert_one_line(answer, ("dataset.path=gone.npz: no such file",))
    assert snapshot(tmp_path) == {"kept": None}


@pytest.mark.parametrize("row", AS_COMMAND, ids=words)
def test_installed_command_answers_alike(row: tuple[str, ...], nasrun: Callable, tmp_path: Path) -> None:
    assert_one_line(nasrun(row[0], CUDA_VISIBLE_DEVICES=""), row[1:])
    assert snapshot(tmp_path) == {}


@pytest.mark.parametrize("group", [*GROUPS, "experiment"])
def test_every_group_knows_the_nearest_option(group: str, nasrun_inprocess: Callable) -> None:
    option = min(path.stem for path in (conf_dir() / group).glob("*.yaml"))
    answer = nasrun_inprocess(f"{group}={option}q")
    assert_one_line(answer, (f"{group}={option}q: no such option; did you mean {option!r}?",))


def test_debug_adds_the_traceback(nasrun_inprocess: Callable) -> None:
    answer = nasrun_inprocess("trials=-1 debug=true")
    assert answer.returncode == 2
    assert answer.stderr.startswith("Traceback")
    assert answer.stderr.endswith("nasrun: trials=-1: must be at least 1\n")

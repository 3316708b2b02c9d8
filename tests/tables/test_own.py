"""Tables of one's own: any space, repeats, regrets, and every wrong row by its number."""

import csv
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nasrun.config.build import Setup
from nasrun.core import Job, Proposal, Trial
from nasrun.core.options import ConfigError
from nasrun.storage.records import read_run
from tests.support import setup_of


def genomes(count: int) -> list[str]:
    import numpy as np

    space = setup_of("search_space=mlp", "evaluator=synthetic", "dataset=synthetic").space
    rng = np.random.default_rng(0)
    found: dict[str, None] = {}
    while len(found) < count:
        found[space.format(space.sample(rng))] = None
    return list(found)


A, B, C = genomes(3)


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def setup(path: Path, *words: str) -> Setup:
    return setup_of("search_space=mlp", "evaluator=table", "dataset=mnist", f"evaluator.table={path}", *words)


def prepared(path: Path, *words: str) -> Setup:
    made = setup(path, *words)
    made.evaluator.prepare()
    return made


def look_up(made: Setup, genome: str, *, seed: int = 0, **proposal: Any) -> Any:
    job = Job(Trial(0, Proposal(made.space.parse(genome), **proposal)), 0, seed)
    [measurement] = made.evaluator.evaluate([job])
    return measurement


def final(made: Setup, genome: str) -> dict[str, float]:
    return dict(made.evaluator.final(Job(Trial(0, Proposal(made.space.parse(genome))), 0, 5)).get("metrics", {}))


def refusal(path: Path, *words: str) -> str:
    with pytest.raises(ConfigError) as caught:
        prepared(path, *words)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_values_repeats_tests_and_regrets(tmp_path: Path) -> None:
    table = write(
        tmp_path / "mine.csv",
        "genome,val_accuracy,test_accuracy,seed,seconds,watts\n"
        f"{A},0.5,0.4,0,10,1\n{A},0.7,0.6,1,30,3\n\n{B},0.9,0.7,0,20,2\n{C},,,0,,\n",
    )
    made = prepared(table)
    assert made.objective.metric == "val_accuracy"
    assert made.evaluator.metrics == ("val_accuracy", "parameters", "flops", "watts", "simulated_seconds")
    cost = made.space.cost(made.space.parse(A), made.dataset.task)
    expected = {"val_accuracy": 0.6, "parameters": cost.parameters, "flops": cost.flops, "watts": 2.0}
    assert look_up(made, A).metrics == {**expected, "simulated_seconds": 20.0}
    assert final(made, A) == pytest.approx({"test_accuracy": 0.5, "test_regret": 0.2, "val_regret": 0.3})
    assert final(made, B) == {"test_accuracy": 0.7, "test_regret": 0.0, "val_regret": 0.0}
    missing = look_up(made, C)
    assert (missing.status, missing.error) == ("infeasible", "table mine.csv does not hold this architecture")
    drawn = prepared(table, "evaluator.repeat=draw")
    assert {look_up(drawn, A, seed=seed).metrics["val_accuracy"] for seed in range(20)} == {0.5, 0.7}
    assert made.evaluator.unsupported_budget_reason(3) == (
        "table mine.csv does not say how long trainings were (it has no column epochs)"
    )
    assert "evaluator.epochs=3: table mine.csv does not say" in refusal(table, "evaluator.epochs=3")


def test_losses_are_better_where_they_are_lower(tmp_path: Path) -> None:
    table = write(tmp_path / "a.csv", f"genome,val_loss,test_loss\n{A},0.5,0.75\n{B},0.25,1.0\n{C},0.5,\n")
    made = prepared(table)
    assert (made.objective.metric, made.objective.mode) == ("val_loss", "min")
    assert final(made, A) == {"test_loss": 0.75, "test_regret": 0.0, "val_regret": 0.25}
    assert final(made, B) == {"test_loss": 1.0, "test_regret": 0.25, "val_regret": 0.0}
    assert final(made, C) == {"val_regret": 0.25}, "it was not tested"
    assert made.evaluator.messages() == ("table a.csv holds no training times: seconds are those of look-ups",)


def test_lengths_and_data_sets(tmp_path: Path) -> None:
    rows = [f"{A},0.1,1,mnist", f"{A},0.3,9,mnist", f"{A},0.8,9,fashion_mnist", f"{B},0.2,1,mnist"]
    table = write(tmp_path / "a.csv", "\n".join(["genome,val_accuracy,epochs,dataset", *rows]))
    made = prepared(table)
    assert look_up(made, A).metrics["val_accuracy"] == 0.3
    assert look_up(made, A, budget=1).metrics["epochs"] == 1
    assert look_up(made, B).error == "table a.csv holds no training of 9 epochs of this architecture"
    assert made.evaluator.unsupported_budget_reason(4) == (
        "table a.csv has no trainings of 4 epochs; it has those of 1, 9"
    )
    assert look_up(prepared(table, "dataset=fashion_mnist"), A).metrics["val_accuracy"] == 0.8
    assert refusal(table, "dataset=cifar10").endswith(
        "has no row of dataset=cifar10; it has rows of fashion_mnist, mnist"
    )


def test_equal_networks_are_one_architecture(tmp_path: Path) -> None:
    """Isomorphic cells of NAS-Bench-101 have one key: their rows are repeats of one another."""
    cells = ["conv3x3(0)-conv1x1(0)-out(1+2)", "conv1x1(0)-conv3x3(0)-out(1+2)"]
    table = write(tmp_path / "a.csv", f"genome,val_accuracy\n{cells[0]},0.5\n{cells[1]},0.75\n")
    made = setup_of("search_space=nasbench101", "evaluator=table", f"evaluator.table={table}")
    made.evaluator.prepare()
    assert look_up(made, cells[0]).metrics["val_accuracy"] == look_up(made, cells[1]).metrics["val_accuracy"] == 0.625


WRONG = [
    ("genome,val_accuracy\nx,0.5\n", "1 of 1 row is wrong: row 2: genome x: "),
    (f"genome,val_accuracy\n{A},0.5\n\n,0.5\n", "1 of 2 rows is wrong: row 4: genome is empty"),
    (f"genome,val_accuracy\n{A},93.5\n", "row 2: val_accuracy 93.5: expected a fraction, from 0 to 1"),
    (
        f"genome,val_accuracy\n{A},good\n{B},nan\n",
        "row 2: val_accuracy good: expected a number; row 3: ",
    ),
    (f"genome,val_accuracy,watts\n{A},0.5,\n{B},0.5,1\n", "row 2: watts is empty"),
    (f"genome,val_accuracy,epochs\n{A},0.5,1.5\n", "row 2: epochs 1.5: expected a whole number, at least 1"),
    (f"genome,val_accuracy,seed\n{A},0.5,3\n{A},0.6,3\n", "row 3: the same architecture, epochs and seed as row 2"),
    (f"genome,val_accuracy,seconds\n{A},0.5,-1\n", "row 2: seconds -1: expected a time, at least 0"),
    (f"genome,val_accuracy\n{A},0.5,7\n", "row 2: has more or fewer cells than the heading"),
    (f"genome,val_accuracy\n{A},\n", "has no row with a val_accuracy"),
    ("genome,val_accuracy\n" + "x,0.5\n" * 9, "9 of 9 rows are wrong: row 2: "),
    (f"genome,val_accuracy,parameters\n{A},0.5,12\n", "is about other networks than search_space builds: "),
]


@pytest.mark.parametrize(("text", "said"), WRONG, ids=[str(number) for number in range(len(WRONG))])
def test_wrong_rows_are_named_by_their_number(text: str, said: str, tmp_path: Path) -> None:
    assert said in refusal(write(tmp_path / "a.csv", text))


def test_only_some_of_many_wrong_rows_are_shown(tmp_path: Path) -> None:
    said = refusal(write(tmp_path / "a.csv", "genome,val_accuracy\n" + "x,0.5\n" * 9))
    assert re.findall(r"row (\d+):", said) == ["2", "3", "4", "5", "6"]
    assert said.endswith("; and 4 more")


def test_what_is_no_table_is_refused_before_it_is_prepared(tmp_path: Path) -> None:
    for content, said in (
        ("architecture,val_accuracy\nx,1\n", "no column genome; known: architecture, val_accuracy"),
        ("genome,accuracy\nx,1\n", "no column val_accuracy or val_loss; did you mean 'accuracy'?"),
        ("genome,val_accuracy,genome\n", "two columns have the name genome"),
        ("", "no column genome"),
        ("genome;val_accuracy\n", "no column genome; columns are separated by commas, not by ;"),
        ("genome\tval_accuracy\n", "no column genome; columns are separated by commas, not by tabs"),
    ):
        with pytest.raises(ConfigError, match=r"^evaluator\.table=") as caught:
            setup(write(tmp_path / "a.csv", content))
        assert said in str(caught.value)
    (tmp_path / "a.csv").write_bytes(b"genome,val_accuracy\n\xff\xfe")
    with pytest.raises(ConfigError, match="is not UTF-8 text"):
        setup(tmp_path / "a.csv")


def test_a_file_that_has_changed_is_another_table(tmp_path: Path) -> None:
    table = write(tmp_path / "a.csv", f"genome,val_accuracy\n{A},0.5\n")
    facts = setup(table).evaluator.prepare()
    assert setup(table).evaluator.prepare(facts) == facts
    write(table, f"genome,val_accuracy\n{A},0.625\n")
    with pytest.raises(ConfigError, match="has changed since the run began"):
        setup(table).evaluator.prepare(facts)
    assert look_up(prepared(table), A).metrics["val_accuracy"] == 0.625


def test_the_trials_of_a_run_are_a_table(tmp_path: Path, nasrun_inprocess: Callable) -> None:
    """One run's `trials.csv`, failures and reused trials included, is searched by others, to the end."""
    words = "search_space=mlp dataset=synthetic output.plots=false output.console=none trials=40"
    made = f"{words} evaluator=synthetic evaluator.fail_rate=0.2 max_failures=null strategy=random hydra.run.dir=made"
    assert nasrun_inprocess(made).returncode == 0
    run = read_run(tmp_path / "made")
    best = max(r.mean("val_accuracy") for r in run.trials.values() if r.status == "ok")
    again = nasrun_inprocess(
        f"{words} evaluator=table evaluator.table=made/trials.csv strategy=random hydra.run.dir=again"
    )
    assert again.returncode == 0, again.stderr
    with (tmp_path / "again" / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert max(float(row["val_accuracy"]) for row in rows if row["status"] == "ok") == best
    failed = [r for r in run.trials.values() if r.status != "ok"]
    assert failed
    assert {row["status"] for row in rows} == {"ok", "infeasible"}
    assert read_run(tmp_path / "again").final_metrics == {"val_regret": 0.0}


def test_parquet(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    frame = pandas.DataFrame({"genome": [A, B], "val_accuracy": [0.5, None], "epochs": [2, 2]})
    frame.to_parquet(tmp_path / "a.parquet")
    made = prepared(tmp_path / "a.parquet")
    assert look_up(made, A).metrics["val_accuracy"] == 0.5
    assert look_up(made, B).status == "infeasible"


def test_parquet_without_pandas_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    with pytest.raises(ConfigError, match=r"needs pandas to be read: pip install pandas pyarrow; or save it as CSV"):
        setup(write(tmp_path / "a.parquet", ""))

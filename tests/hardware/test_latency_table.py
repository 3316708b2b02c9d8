"""Latencies added up from layers: what networks are taken apart into, what is measured, and what follows from it."""

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from nasrun.core import Job, Proposal, Trial
from nasrun.core.options import ConfigError
from nasrun.evaluators.costs import WithCosts
from nasrun.hardware.latency_table import COLUMNS, LatencyTable, read_table
from nasrun.hardware.layers import CONV, DENSE, Layer, layers_of, onnx_of, parse_layer
from tests.documentation import ROOT
from tests.runner.test_crash import script
from tests.support import setup_of

WORDS = ["search_space=staged_cnn", "evaluator=synthetic", "dataset=synthetic", "recipe=plain"]
SETUP = (*WORDS, "objective=[val_accuracy,latency_ms]", "hardware=cpu", "hardware.threads=1")


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The layers of a few networks, and their table, measured by a process that has neither nasrun nor torch."""
    folder = tmp_path_factory.mktemp("latency") / "layers"
    script("latency_layers").write(folder, WORDS, networks=4, whole=2)
    program = (
        (ROOT / "scripts" / "measure_latency.py").read_text().replace("SECONDS = 10, 20, 0.1", "SECONDS = 1, 3, 0")
    )
    blocked = f"import sys\nfor name in ('nasrun', 'torch', 'onnx'): sys.modules[name] = None\n{program}"
    command = [sys.executable, "-c", blocked, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    table = folder.with_name("table.csv")
    table.write_text(done.stdout)
    return folder, table


def test_the_layers_of_a_network_do_its_work() -> None:
    setup = setup_of(*WORDS)
    space, task, rng = setup.space, setup.dataset.task, np.random.default_rng(2)
    for genome in (*space.known().values(), *(space.sample(rng) for _ in range(6))):
        layers = layers_of(lambda genome=genome: space.build(genome, task), task)
        assert sum(layer.work for layer in layers if layer.kind in (CONV, DENSE)) == space.cost(genome, task).flops
        assert [parse_layer(str(layer)) for layer in layers] == layers
    relus = layers_of(lambda: space.build(space.known()["resnet8"], task), task)
    assert sum(layer.relu for layer in relus) + sum(layer.kind == "relu" for layer in relus) == 7
    assert sum(layer.kind == "add" for layer in relus) == 3


def test_every_layer_is_written_as_what_it_is(measured: tuple[Path, Path]) -> None:
    folder, _ = measured
    seen = set()
    for path in folder.glob("*_*to*.onnx"):
        layer = parse_layer(path.stem)
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        noise = {one.name: np.zeros(one.shape, dtype=np.float32) for one in session.get_inputs()}
        assert session.run(None, noise)[0].size == layer.given
        seen.add(layer.kind)
    assert {"conv", "dense", "mean", "add"} <= seen
    assert onnx_of(Layer("sigmoid", 8, 8, 1, 1)).graph.node[0].op_type == "Sigmoid"


def test_the_table_holds_each_file_and_predicts_networks(measured: tuple[Path, Path]) -> None:
    folder, path = measured
    rows = list(csv.DictReader(path.open()))
    assert {row["file"] for row in rows} == {one.name for one in folder.glob("*.onnx")}
    assert tuple(rows[0]) == COLUMNS
    table, digest = read_table(str(path))
    assert len(digest) == 64
    assert table.check.networks == 2
    assert 0 <= table.check.median <= table.check.largest
    assert 0 < table.predict([parse_layer(text) for text in rows[1]["layers"].split(";")]) < 1000


def test_what_a_network_takes_is_a_sum() -> None:
    conv, dense = Layer(CONV, 8, 8, 4, 4, 3), Layer(DENSE, 8, 10, 1, 1)
    rows = {"": 1.0, str(conv): 3.0, str(dense): 1.5}
    table = LatencyTable(rows, [])
    assert table.predict([conv, conv, dense]) == 1 + 2 + 2 + 0.5
    # Joined layers take less: so much as whole networks do, on average.
    joined = LatencyTable(rows, [([conv, dense], 1 + 0.8 * 2.5)])
    assert joined.predict([conv, conv, dense]) == pytest.approx(1 + 0.8 * 4.5)
    assert joined.check == (1, pytest.approx(0), pytest.approx(0))
    twice = Layer(CONV, 8, 16, 4, 4, 3)
    assert 2 * 1.3 < table.predict([twice]) - 1 < 2 * 2.1
    with pytest.raises(LookupError, match="no layer of the kind add"):
        table.predict([Layer("add", 8, 8, 4, 4)])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "its first line must be file,layers,ms"),
        ("a,b\n1,2\n", "its first line must be file,layers,ms"),
        ("file,layers,ms\nx,conv,1\n", "'conv': not a layer"),
        ("file,layers,ms\nx,,nan\n", "ms=nan: must be above 0"),
        ("file,layers,ms\nx,,-1\n", "ms=-1: must be above 0"),
        ("file,layers,ms\nx\n", "cannot be used"),
    ],
)
def test_what_is_no_table_is_refused_in_one_line(text: str, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"hardware\.latency_table=") as error:
        read_table(str(path))
    assert reason in str(error.value)
    assert "\n" not in str(error.value)
    with pytest.raises(ConfigError, match="No such file"):
        read_table(str(tmp_path / "gone.csv"))
    with pytest.raises(ConfigError, match=r"gone\.csv: no option needs latencies; add constraints\.latency_ms=N"):
        setup_of(*WORDS, f"hardware.latency_table={tmp_path / 'gone.csv'}")


def test_a_run_goes_by_the_table_and_no_other(measured: tuple[Path, Path], tmp_path: Path) -> None:
    _, path = measured
    setup = setup_of(*SETUP, f"hardware.latency_table={path}")
    evaluator = setup.evaluator
    assert isinstance(evaluator, WithCosts)
    facts = evaluator.prepare()
    assert facts["latency"]["by"] == "table"
    genome = setup.space.known()["resnet8"]
    found = [next(iter(evaluator.evaluate([Job(Trial(n, Proposal(genome)), 0, 0)]))).metrics for n in range(2)]
    layers = layers_of(lambda: setup.space.build(genome, setup.dataset.task), setup.dataset.task)
    expected = read_table(str(path))[0].predict(layers)
    assert found[0]["latency_ms"] == found[1]["latency_ms"] == expected
    setup_of(*SETUP, f"hardware.latency_table={path}").evaluator.prepare(facts)
    other = tmp_path / "other.csv"
    other.write_text(path.read_text().replace("empty.onnx", "nothing.onnx"))
    with pytest.raises(ConfigError, match="not the table that this run began with"):
        setup_of(*SETUP, f"hardware.latency_table={other}").evaluator.prepare(facts)
    with pytest.raises(ConfigError, match="latency_by=onnx: not used with latency_table"):
        setup_of(*SETUP, f"hardware.latency_table={path}", "hardware.latency_by=onnx")

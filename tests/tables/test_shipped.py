"""The tables that come with nasrun: known values, and every value of the raw tables where these are."""

import csv
import gzip
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from nasrun.core import Task
from nasrun.spaces.mlp.space import Mlp
from nasrun.spaces.nasbench101.graph import LABELS
from nasrun.spaces.nasbench101.space import NASBench101
from nasrun.spaces.nasbench201.space import NASBench201 as Space201
from nasrun.tables import SHIPPED, TableError, Trainings, choose
from nasrun.tables.asnn import Asnn
from nasrun.tables.base import ShippedTable
from nasrun.tables.nasbench101.table import EcNas
from nasrun.tables.nasbench201 import NasBench201

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "nasrun" / "tables" / "data"


@pytest.fixture(scope="module")
def nasbench201() -> NasBench201:
    table = NasBench201()
    table.load()
    return table


@pytest.fixture(scope="module")
def ec_nas() -> EcNas:
    table = EcNas()
    table.load()
    return table


@pytest.fixture(scope="module")
def asnn() -> Asnn:
    table = Asnn()
    table.load()
    return table


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    specification = importlib.util.spec_from_file_location("make_tables", ROOT / "scripts" / "make_tables.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("dataset", "validation", "validation_index", "test", "test_index"),
    [
        ("cifar10", 91.606667, 6111, 94.373333, 6111),
        ("cifar100", 73.493333, 9930, 73.513333, 9930),
        ("imagenet16", 46.733333, 10676, 47.311111, 857),
    ],
)
def test_known_optima(
    nasbench201: NasBench201, dataset: str, validation: float, validation_index: int, test: float, test_index: int
) -> None:
    trainings = nasbench201.trainings(dataset, 200)
    assert trainings.test is not None
    assert round(100 * trainings.best(trainings.validation), 6) == validation
    assert round(100 * trainings.best(trainings.test), 6) == test
    assert (np.argmax(trainings.validation), np.argmax(trainings.test)) == (validation_index, test_index)


def test_the_best_cell_is_found_by_its_string(nasbench201: NasBench201) -> None:
    space = Space201()
    best = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|"
    assert nasbench201.find(space, space.parse(best)) == 6111
    trainings = nasbench201.trainings("cifar10", 12)
    assert trainings.test is not None
    # 84.384 and 88.79 percent, to the last digit.
    assert (trainings.validation[6111], trainings.test[6111]) == (0.84384, 0.8879)


def test_every_cell_of_the_space_has_its_row_and_its_parameters(nasbench201: NasBench201) -> None:
    space = Space201()
    genomes = list(space.genomes)
    rows = [nasbench201.find(space, genome) for genome in genomes]
    assert sorted(row for row in rows if row is not None) == list(range(15_625))
    for dataset, side, classes in (("cifar10", 32, 10), ("cifar100", 32, 100), ("imagenet16", 16, 120)):
        task = Task(dataset, 3, side, side, classes)
        parameters = [space.cost(genome, task).parameters for genome in genomes]
        assert parameters == nasbench201.parameters(dataset)[rows].tolist()


def test_what_is_no_cell_has_no_row(nasbench201: NasBench201) -> None:
    space = Space201()
    assert nasbench201.find(space, ("none",) * 5) is None
    assert nasbench201.find(space, ("none",) * 7) is None
    assert nasbench201.find(space, ("none",) * 5 + ("conv",)) is None


def test_ec_nas_best_cell(ec_nas: EcNas) -> None:
    trainings = ec_nas.trainings("cifar10", 4)
    assert trainings.test is not None
    best = int(np.argmax(trainings.validation))
    assert trainings.validation[best] == trainings.best(trainings.validation) == 0.7701321840286255
    assert trainings.test[best] == trainings.best(trainings.test) == 0.7625200152397156
    row = int(np.searchsorted(trainings.starts, best, side="right")) - 1
    assert bytes(ec_nas.arrays["hash"][row]).hex() == "e833ee7d095f08dab909f662e32a5296"


def test_ec_nas_lengths_and_repeats(ec_nas: EcNas) -> None:
    counts = {epochs: np.diff(ec_nas.trainings("cifar10", epochs).starts) for epochs in ec_nas.epochs}
    assert {epochs: (int((n > 0).sum()), int(n.sum())) for epochs, n in counts.items()} == {
        1: (91, 273),
        2: (2532, 2532),
        4: (2532, 2805),
    }
    assert set(counts[4].tolist()) == {1, 4}
    for epochs in ec_nas.epochs:
        trainings = ec_nas.trainings("cifar10", epochs)
        assert set(trainings.spent) == set(ec_nas.spends)
        for values in (trainings.validation, trainings.test, *trainings.spent.values()):
            assert values is not None
            assert len(values) == counts[epochs].sum()
            assert np.all(values > 0)


def test_ec_nas_holds_every_small_cell_by_its_hash(ec_nas: EcNas) -> None:
    space = NASBench101(operations=list(LABELS), vertices=5)
    rng = np.random.default_rng(0)
    task = Task("cifar10", 3, 32, 32, 10)
    for genome in (space.sample(rng) for _ in range(500)):
        row = ec_nas.find(space, genome)
        assert row is not None
        # Isomorphic cells share channels out differently, so that their parameters are not quite the same.
        assert ec_nas.parameters("cifar10")[row] == pytest.approx(space.cost(genome, task).parameters, rel=0.01)
    large = NASBench101(operations=list(LABELS))
    assert ec_nas.find(large, large.parse("conv3x3(0)-conv3x3(1)-conv3x3(2)-conv3x3(3)-out(4)")) is None


def test_asnn(asnn: Asnn) -> None:
    trainings = asnn.trainings("mnist", 50)
    assert trainings.test is None
    assert [len(asnn.rows_of(part)) for part in ("two_layer", "three_layer", "predictions")] == [25, 64, 10]
    row = asnn.row_of((256, 256))
    assert row == asnn.rows_of("two_layer")[0]
    assert trainings.validation[trainings.of(row)].tolist() == [
        *(0.9828, 0.9832, 0.9818, 0.9825, 0.9822),
        *(0.981, 0.9846, 0.9817, 0.9833, 0.985),
    ]
    assert asnn.find(Mlp(), (3, 128, 128, 64)) == asnn.row_of((128, 128, 64)) == asnn.rows_of("three_layer")[1]
    assert asnn.find(Mlp(), (2, 128, 127)) is None
    several = Mlp(activations=["relu", "tanh"])
    assert asnn.find(several, (2, 256, 256, "relu")) == row
    assert asnn.find(several, (2, 256, 256, "tanh")) is None
    assert asnn.find(Mlp(activations=["tanh"]), (2, 256, 256)) is None
    assert asnn.row_of((128, 128, 65)) is None
    # The paper's best: 732-41 with two layers, 339-184-66 with three.
    means = {widths: trainings.validation[trainings.of(asnn.row_of(widths))].mean() for widths in asnn.rows}
    assert max(means, key=lambda widths: means[widths] if len(widths) == 2 else 0) == (732, 41)
    assert max(means, key=lambda widths: means[widths] if len(widths) == 3 else 0) == (339, 184, 66)
    assert round(means[(732, 41)], 5) == 0.9838
    # 785 * 448 + 449 * 65 + 66 * 10, and with a third layer.
    assert asnn.parameters("mnist")[asnn.row_of((448, 65))] == 381_525
    assert asnn.parameters("mnist")[asnn.row_of((128, 64, 32))] == 785 * 128 + 129 * 64 + 65 * 32 + 33 * 10


@pytest.mark.parametrize("kind", SHIPPED, ids=lambda kind: kind.name)
def test_files_are_small_with_licence_or_origin(kind: type[ShippedTable]) -> None:
    assert (DATA / f"{kind.name}.npz").stat().st_size < 600_000
    [text] = [path for path in DATA.iterdir() if path.suffix == f".{kind.name}"]
    assert f"{kind.name}.npz" in text.read_text(encoding="utf-8")


def test_tables_load_without_torch() -> None:
    code = (
        "import sys; from nasrun.tables import SHIPPED\n"
        "for kind in SHIPPED: kind().load()\n"
        "print([name for name in ('torch', 'hydra', 'pandas', 'google_crc32c') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_damaged_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = (DATA / "asnn.npz").read_bytes()
    (tmp_path / "data").mkdir()
    monkeypatch.setattr("nasrun.tables.base.files", lambda package: tmp_path)
    flipped = content[:700] + bytes([content[700] ^ 1]) + content[701:]
    for broken in (None, content[:1000], flipped, b""):
        if broken is not None:
            (tmp_path / "data" / "asnn.npz").write_bytes(broken)
        with pytest.raises(TableError, match=r"asnn\.npz: cannot be read .*; install nasrun again") as caught:
            Asnn().load()
        assert len(str(caught.value).splitlines()) == 1


def test_the_best_row_is_that_of_the_highest_mean() -> None:
    values = np.array([0.5, 0.75, 0.625, 0.9, 0.1])
    trainings = Trainings(np.array([0, 0, 2, 3, 3, 5]), values, None, {})
    assert trainings.best(values) == 0.625
    assert trainings.best(np.array([0.5, 0.8, 0.625, 0.9, 0.1])) == 0.65
    assert [trainings.of(row) for row in (0, 1, 4)] == [slice(0, 0), slice(0, 2), slice(3, 5)]


def test_values_come_after_load() -> None:
    with pytest.raises(RuntimeError, match="load"):
        NasBench201().trainings("cifar10", 200)


def test_a_table_is_chosen_by_the_space() -> None:
    assert isinstance(choose("auto", Space201()), NasBench201)
    assert isinstance(choose("auto", NASBench101(operations=list(LABELS))), EcNas)
    assert isinstance(choose("nasbench201", Space201()), NasBench201)

    class Own(Space201):
        pass

    assert isinstance(choose("auto", Own()), NasBench201)
    with pytest.raises(ValueError, match=r"^table=ec_nas: only has architectures of search_space=nasbench101$"):
        choose("ec_nas", Space201())
    with pytest.raises(ValueError, match=r"^table=nowhere/x\.tfrecord: no such table, and no such file; known: auto, "):
        choose("nowhere/x.tfrecord", Space201())


def test_nasbench201_is_the_raw_table(nasbench201: NasBench201, raw_tables: Path) -> None:
    with gzip.open(raw_tables / "nasbench201" / "nasbench201.csv.gz", "rt") as file:
        rows = list(csv.DictReader(file))
    space = Space201()
    found = [nasbench201.find(space, space.parse(row["arch"])) for row in rows]
    assert found == list(range(15_625))
    for dataset in nasbench201.datasets:
        assert [int(row[f"params_{dataset}"]) for row in rows] == nasbench201.parameters(dataset).tolist()
        for epochs in nasbench201.epochs:
            trainings = nasbench201.trainings(dataset, epochs)
            for name, values in (("val", trainings.validation), ("test", trainings.test)):
                assert values is not None
                texts = [f"{100 * value:.6f}".rstrip("0").rstrip(".") for value in values.tolist()]
                assert texts == [row[f"{dataset}_{name}_{epochs}"] for row in rows]


def test_ec_nas_is_the_raw_table(ec_nas: EcNas, raw_tables: Path) -> None:
    with gzip.open(raw_tables / "nasbench101" / "ec_nas_5v_4epochs.json.gz", "rt") as file:
        cells = {cell["hash"]: cell for cell in json.load(file)["cells"]}
    hashes = [bytes(digest).hex() for digest in ec_nas.arrays["hash"]]
    assert set(hashes) == set(cells)
    assert [cells[key]["params"] for key in hashes] == ec_nas.parameters("cifar10").tolist()
    for epochs in ec_nas.epochs:
        trainings = ec_nas.trainings("cifar10", epochs)
        assert trainings.test is not None
        for row, key in enumerate(hashes):
            evaluations = [e for run in cells[key]["runs"] for e in run["evaluations"] if e["epoch"] == epochs]
            place = trainings.of(row)
            assert trainings.validation[place].tolist() == [e["validation_accuracy"] for e in evaluations]
            assert trainings.test[place].tolist() == [e["test_accuracy"] for e in evaluations]
            spent = {name: values[place].tolist() for name, values in trainings.spent.items()}
            assert spent["simulated_seconds"] == [e["training_time_s"] for e in evaluations]
            assert spent["energy_kwh"] == [round(e["energy_kwh"], 6) for e in evaluations]
            assert spent["co2eq_g"] == [round(e["co2eq_g"], 6) for e in evaluations]


def test_asnn_is_the_raw_table(asnn: Asnn, raw_tables: Path) -> None:
    trainings = asnn.trainings("mnist", 50)
    for part in ("two_layer", "three_layer", "predictions"):
        with (raw_tables / "asnn" / f"{part}.csv").open() as file:
            rows = list(csv.DictReader(file))
        for row, place in zip(rows, asnn.rows_of(part), strict=True):
            widths = tuple(int(row[name]) for name in ("L1", "L2", "L3") if row.get(name))
            assert asnn.row_of(widths) == place
            values = trainings.validation[trainings.of(place)]
            assert values.tolist() == [float(row[f"E{n}"]) for n in range(1, 11)]
            if part == "predictions":
                assert round(float(values.mean()), 5) == float(row["printed_mean"])


def test_the_files_are_made_again(
    maker: ModuleType, raw_tables: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = (tmp_path / "one", tmp_path / "two")
    for folder in folders:
        folder.mkdir()
        monkeypatch.setattr(sys, "argv", ["make_tables.py", str(raw_tables), str(folder)])
        maker.main()
    for kind in SHIPPED:
        one, two = ((folder / f"{kind.name}.npz").read_bytes() for folder in folders)
        assert one == two
        # Another zlib packs the same arrays into other bytes.
        shipped = kind()
        shipped.load()
        with np.load(folders[0] / f"{kind.name}.npz") as made:
            assert made.files == list(shipped.arrays)
            for name in made.files:
                assert made[name].dtype == shipped.arrays[name].dtype
                assert np.array_equal(made[name], shipped.arrays[name])


def test_the_maker_stops_at_what_it_cannot_hold(maker: ModuleType) -> None:
    assert maker.scaled(["84.384", "10"], 1_000_000, np.int32).tolist() == [84_384_000, 10_000_000]
    with pytest.raises(ValueError, match="whole numbers"):
        maker.scaled(["0.12345678"], 1_000_000, np.int32)
    with pytest.raises(ValueError, match="that fit"):
        maker.scaled(["7"], 10_000, np.uint16)
    with pytest.raises(ValueError, match="single-precision"):
        maker.single([[0.1]])
    with pytest.raises(ValueError, match="six decimals"):
        maker.millionths([[0.1234567]])

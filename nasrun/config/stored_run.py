"""Read access to a run directory: its records and its evaluation setup. Nothing is trained, and data recorded in the
header are not loaded."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from nasrun.config.build import Benchmark, build_benchmark
from nasrun.config.given import Given, check_same
from nasrun.config.sections import create
from nasrun.core.options import ConfigError, plain
from nasrun.datasets import Dataset, DatasetError
from nasrun.datasets.record import DataRecord, difference, doubt_of, record_of
from nasrun.storage import journal
from nasrun.storage.events import RunStarted
from nasrun.storage.paths import data_named, find_paths
from nasrun.storage.records import CONFIG, RunRecords, assemble
from nasrun.storage.run_directory import holds_run, load_config, runs_in
from nasrun.storage.stored_config import check_targets

READ = ("search_space", "evaluator")
"""The groups whose objects are created if the header records the data."""


class DataChangedError(DatasetError):
    """The data differ from those of the run; the text says how, in one line."""


@dataclass(frozen=True)
class StoredRun:
    """A run read from its directory.

    `config`: with relative paths resolved from here. `data`: as recorded at the start; None for versions without such a
    record.
    """

    directory: Path
    config: DictConfig
    records: RunRecords
    benchmark: Benchmark
    data: DataRecord | None

    @property
    def header(self) -> RunStarted:
        """The first event of the journal."""
        return self.records.header

    @property
    def doubt(self) -> str | None:
        """The caveat for a run that did not record its data, in one line; None if it did."""
        return None if self.data is not None else doubt_of(self.header.nasrun)


def open_run(directory: Path, given: Mapping[str, Given] = {}) -> StoredRun:
    """The run in a directory, finished or not. `given`: the objects passed in at its start, if any, by group.

    ConfigError if the directory has no run, or names classes that must not be imported; JournalError if its journal is
    invalid.
    """
    if not holds_run(directory):
        raise ConfigError(f"{directory}: holds no run (it has no {journal.NAME}){runs_in(directory)}")
    records = assemble(directory, journal.lines_of(directory / journal.NAME))
    data = read_data(records)
    groups = READ if data is not None else (*READ, "dataset")
    stored = load_config(directory, records.changes, groups=groups, chosen=[one.path for one in given.values()])
    check_same(stored, given)
    config = find_paths(stored, records.header, directory)
    return StoredRun(directory, config, records, build_benchmark(config, data, given), data)


def read_data(run: RunRecords) -> DataRecord | None:
    """The record of the data in the header of a run; None if its version did not record them."""
    with journal.reject_invalid_events(run.directory / journal.NAME):
        return DataRecord.of_header(run.header.data)


def load_data(stored: StoredRun, config: DictConfig) -> Dataset:
    """The loaded data set of a run, from the location given by a config.

    DatasetError if it cannot be read, DataChangedError if it is not that of the run, ConfigError if its class must not
    be imported.
    """
    dataset = stored.benchmark.dataset
    if stored.data is not None:
        check_targets(OmegaConf.masked_copy(config, ["dataset"]), stored.directory / CONFIG)
        dataset = create(plain(config), "dataset", Dataset)  # type: ignore[type-abstract]
    dataset.load()
    check_data(stored.records, config, dataset)
    return dataset


def check_data(run: RunRecords, config: DictConfig, dataset: Dataset) -> None:
    """DataChangedError, which says what differs, if a data set is not the one that a run recorded."""
    then = read_data(run)
    found = None if then is None else difference(then, record_of(dataset))
    if found is not None:
        raise DataChangedError(f"{data_named(config, run.header, dataset.name)}: not the data of the run ({found})")

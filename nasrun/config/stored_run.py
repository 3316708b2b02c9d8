"""A run directory, opened to be read: its records and what it measured. Nothing is searched or trained, and where the
header records the data, nothing of them is read."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from nasrun.config.build import Benchmark, build_benchmark
from nasrun.config.given import Given
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
"""The groups of which something is made where the header records the data."""


class DataChangedError(DatasetError):
    """Data that are not those of a run; the text says what differs, in one line."""


@dataclass(frozen=True)
class StoredRun:
    """A run as its directory tells it.

    `config`: with relative paths as they are reached from here. `data`: as recorded at its start; None of a version
    that recorded nothing.
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
        """What cannot be known of a run that recorded nothing of its data, in one line."""
        return None if self.data is not None else doubt_of(self.header.nasrun)


def open_run(directory: Path, given: Mapping[str, Given] = {}) -> StoredRun:
    """The run in a directory, finished or not. `given`: the objects that it was started with, if any, by group.

    ConfigError where the directory holds none, or names classes that may not be imported; JournalError where its
    journal cannot be trusted.
    """
    if not holds_run(directory):
        raise ConfigError(f"{directory}: holds no run (it has no {journal.NAME}){runs_in(directory)}")
    records = assemble(directory, journal.lines_of(directory / journal.NAME))
    data = read_data(records)
    groups = READ if data is not None else (*READ, "dataset")
    config = find_paths(
        load_config(directory, records.changes, groups=groups, chosen=[one.path for one in given.values()]),
        records.header,
        directory,
    )
    return StoredRun(directory, config, records, build_benchmark(config, data, given), data)


def read_data(run: RunRecords) -> DataRecord | None:
    """What the header of a run records of its data; None where its version recorded nothing."""
    with journal.reject_invalid_events(run.directory / journal.NAME):
        return DataRecord.of_header(run.header.data)


def load_data(stored: StoredRun, config: DictConfig) -> Dataset:
    """The data set of a run with its images, as a config says where they lie.

    DatasetError where they cannot be read, DataChangedError where they are not those of the run, ConfigError where the
    class of the data set may not be imported.
    """
    dataset = stored.benchmark.dataset
    if stored.data is not None:
        check_targets(OmegaConf.masked_copy(config, ["dataset"]), stored.directory / CONFIG)
        dataset = create(plain(config), "dataset", Dataset)  # type: ignore[type-abstract]
    dataset.load()
    check_data(stored.records, config, dataset)
    return dataset


def check_data(run: RunRecords, config: DictConfig, dataset: Dataset) -> None:
    """DataChangedError, in one line, where a data set is not the one that a run recorded: it says what differs."""
    then = read_data(run)
    found = None if then is None else difference(then, record_of(dataset))
    if found is not None:
        raise DataChangedError(f"{data_named(config, run.header, dataset.name)}: not the data of the run ({found})")

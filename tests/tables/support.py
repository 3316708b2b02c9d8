"""What the tests of NAS-Bench-101's own files share."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from nasrun.spaces.nasbench101.graph import LABELS
from nasrun.spaces.nasbench101.space import NASBench101
from nasrun.tables import TableError
from nasrun.tables.nasbench101.table import RecordFile
from tests.tables import tfrecord_writer as writer

SPACE = NASBench101(operations=list(LABELS))


def written(folder: Path, payloads: Sequence[bytes], name: str = "some.tfrecord") -> Path:
    path = folder / name
    writer.write(path, payloads)
    return path


def loaded(path: Path) -> RecordFile:
    table = RecordFile(path)
    table.load()
    return table


def kept(cache: Path) -> list[str]:
    """What is in the cache, but for lock files."""
    folder = cache / "tables"
    return sorted(p.name for p in folder.iterdir() if p.suffix != ".lock") if folder.is_dir() else []


def refused(path: Path, cache: Path, words: str) -> str:
    """The refusal of a file: one line, with nothing left behind."""
    with pytest.raises(TableError) as caught:
        loaded(path)
    text = str(caught.value)
    assert words in text
    assert text.startswith(str(path))
    assert len(text.splitlines()) == 1
    assert kept(cache) == []
    return text

"""Fixtures of the table tests: an empty cache, and the raw tables where they are."""

from pathlib import Path

import pytest

from tests.tables import tfrecord_writer
from tests.tables.tfrecord_writer import Written

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the cache, which does not exist yet."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("NASRUN_CACHE", str(folder))
    return folder


@pytest.fixture
def raw_tables() -> Path:
    """The folder with the raw tables."""
    if not (SHARED / "nasbench201").is_dir():
        pytest.skip(f"no raw tables in {SHARED}")
    return SHARED


@pytest.fixture(scope="session")
def runs() -> list[Written]:
    """Training runs as records hold them: twenty cells, two lengths, three repeats."""
    return list(tfrecord_writer.runs(1, 20, epochs=(4, 12)))

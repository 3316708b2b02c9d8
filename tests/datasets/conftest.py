"""Fixtures of the data set tests: an empty cache, no data folder, and the real files where they are."""

import os
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.fixture(autouse=True)
def _empty_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test finds files of this machine unless it asks for them, and loopback is never asked of a proxy."""
    monkeypatch.setenv("NASRUN_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("NASRUN_DATA", raising=False)
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.fixture
def shared_data() -> str:
    """The folder with the real MNIST and CIFAR-10."""
    if not SHARED.is_dir():
        pytest.skip(f"no {SHARED}")
    return str(SHARED)

"""A run whose networks are exported."""

from pathlib import Path

import pytest

from tests.export.runs import SHORT, SPACES
from tests.support import made_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two small convolutional networks that keeps the weights of both."""
    folder = tmp_path_factory.mktemp("export")
    words = (*SHORT, "search_space=sequential_cnn", *SPACES["sequential_cnn"], "output.keep=all")
    return made_run(folder / "run", *words, "hardware.precision=fp32")

"""The tests named in the documentation's list of faults exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_test_in_the_list_of_faults_exists() -> None:
    text = (ROOT / "docs" / "scale.md").read_text()
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text)
    assert len(named) > 25
    missing = [f"{file}::{test}" for file, test in named if not defines(ROOT / file, test)]
    assert not missing


def test_every_file_of_these_tests_is_in_the_list() -> None:
    text = (ROOT / "docs" / "scale.md").read_text()
    about_input = {"test_malicious_data.py", "test_list.py"}
    files = {path.name for path in Path(__file__).parent.glob("test_*.py")} - about_input
    assert not {name for name in files if f"tests/faults/{name}::" not in text}


def defines(file: Path, test: str) -> bool:
    """Whether a file has a test of a name."""
    return file.is_file() and re.search(rf"^def {test}\(", file.read_text(), re.MULTILINE) is not None

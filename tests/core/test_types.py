"""The shared types: the names of origins of proposals."""

import pytest

from nasrun.core import Origin
from nasrun.core.types import is_origin


@pytest.mark.parametrize("origin", [*Origin, "climb", "crossover+add_layer", "pso", "half a step", "x" * 80])
def test_origins_are_names(origin: str) -> None:
    assert is_origin(origin)


@pytest.mark.parametrize("origin", ["", "x" * 81, "a\nb", "a,b", "<b>", 3, None])
def test_what_is_no_name_is_no_origin(origin: object) -> None:
    assert not is_origin(origin)


def test_an_origin_is_its_word_wherever_it_is_written() -> None:
    assert f"{Origin.SAMPLE}" == str(Origin.SAMPLE) == "sample"
    assert repr([Origin.SAMPLE]) == "['sample']"

"""The shared types: the names of origins of proposals."""

import pytest

from nasrun.core import Origin
from nasrun.core.options import ConfigError
from nasrun.core.types import check_origin


@pytest.mark.parametrize("origin", [*Origin, "climb", "crossover+add_layer", "pso", "half a step", "x" * 80])
def test_origins_are_names(origin: str) -> None:
    check_origin(origin)


@pytest.mark.parametrize("origin", ["", "x" * 81, "a\nb", "a,b", "<b>", 3, None])
def test_what_is_no_name_is_refused_in_one_line(origin: object) -> None:
    with pytest.raises(
        ConfigError, match=r"^strategy: invalid origin .* of a proposal; it must name the operator"
    ) as caught:
        check_origin(origin)
    assert len(str(caught.value).splitlines()) == 1


def test_an_origin_is_its_word_wherever_it_is_written() -> None:
    assert f"{Origin.SAMPLE}" == str(Origin.SAMPLE) == "sample"
    assert repr([Origin.SAMPLE]) == "['sample']"

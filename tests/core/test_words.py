"""Numbers with their nouns."""

import pytest

from nasrun.core.words import counted


@pytest.mark.parametrize(
    ("number", "words", "said"),
    [
        (1, ("trial",), "1 trial"),
        (0, ("trial",), "0 trials"),
        (2000, ("trial",), "2,000 trials"),
        (1, ("class", "classes"), "1 class"),
        (3, ("class", "classes"), "3 classes"),
        (2.5, ("epoch",), "2.5 epochs"),
    ],
)
def test_a_number_and_its_noun_agree(number: float, words: tuple[str, ...], said: str) -> None:
    assert counted(number, *words) == said

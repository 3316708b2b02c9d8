"""What is said of parts of a run that are of a user's classes."""

import json

import pytest

from nasrun.core.answers import place_of


def test_the_place_of_an_error_is_in_the_users_code() -> None:
    with pytest.raises(ValueError, match="Expecting property name") as caught:
        json.loads("{")
    assert place_of(caught.value) == "test_answers.py:12"
    assert place_of(ValueError("never raised")) is None

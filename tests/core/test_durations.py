"""Lengths of time, as they are typed."""

import pytest

from nasrun.core.durations import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("20m", 1200), ("8h", 28800), ("1h30m", 5400), ("1.5h", 5400), ("0.5s", 0.5), (" 2m10s ", 130)],
)
def test_a_duration_is_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "20", "20x", "m", "-5s", "5s10m", "1e3s", "0s", "0h0m", "inf", "20 m s"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected a number with its unit|above 0s"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["1s", "1m", "1h", "1h1s", "2h30m10s", "59s"])
def test_what_is_written_is_read_back(text: str) -> None:
    assert format_duration(parse_duration(text)) == text

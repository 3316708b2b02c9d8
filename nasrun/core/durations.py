"""Durations as typed on the command line: 90s, 20m, 1h30m."""

import re

_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0}
_FORM = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?")


def parse_duration(text: str) -> float:
    """Parse `90s`, `20m`, `1.5h` or `1h30m` into seconds; ValueError says what was expected."""
    found = _FORM.fullmatch(text.strip())
    if not found or not any(found.groups()):
        raise ValueError("expected a number with its unit, as in 90s, 20m, 8h or 1h30m")
    seconds = sum(float(part) * unit for part, unit in zip(found.groups(), _UNITS.values(), strict=True) if part)
    if seconds <= 0:
        raise ValueError("must be above 0s")
    return seconds


def format_duration(seconds: float) -> str:
    """Format seconds, rounded to whole ones, as `parse_duration` reads them: 90 becomes 1m30s."""
    hours, rest = divmod(round(seconds), 3600)
    minutes, rest = divmod(rest, 60)
    parts = [f"{count}{unit}" for count, unit in ((hours, "h"), (minutes, "m"), (rest, "s")) if count]
    return "".join(parts) or "0s"

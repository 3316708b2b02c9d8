"""Remarks of a data set on reading its files: interpretations and ignored files."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class Picture(NamedTuple):
    """The size of an image file in pixels."""

    width: int
    height: int
    file: str


@dataclass(frozen=True)
class ReadingNotes:
    """`remarks`: one line per conversion or interpretation. `passed_over`: numbers of ignored files by reason.
    `smallest`, `largest`: image files with the fewest and most pixels. `equal`: some pairs of files with the same
    image.
    """

    remarks: tuple[str, ...] = ()
    passed_over: Mapping[str, int] = field(default_factory=dict)
    smallest: Picture | None = None
    largest: Picture | None = None
    equal: tuple[tuple[str, str], ...] = ()


def describe_counts(counts: Mapping[str, int]) -> str:
    """Numbers of files by reason, the most frequent first: `5 .heic (pip install pillow-heif), 2 .txt`."""
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count:,} {reason}" for reason, count in ranked)

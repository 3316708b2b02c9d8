"""What a data set noted while it read its files: how it understood them, and what it passed over."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class Picture(NamedTuple):
    """The size of an image file as it is on disk, in pixels."""

    width: int
    height: int
    file: str


@dataclass(frozen=True)
class ReadingNotes:
    """`remarks`: one line for each thing that was not taken as it stood. `passed_over`: files that were left out, by
    reason. `smallest`, `largest`: of the image files, by their number of pixels. `equal`: a few pairs of files that
    hold the same image, as examples.
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

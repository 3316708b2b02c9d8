"""The names by which the files of users call the three parts of a data set."""

TRAIN, VALIDATION, TEST = "train", "validation", "test"

SPELLINGS = {
    TRAIN: ("train", "training"),
    VALIDATION: ("val", "valid", "validation", "dev"),
    TEST: ("test", "testing"),
}
"""Each in small letters; capitals make no difference."""

PATTERN = "|".join(f"(?P<{part}>{'|'.join(names)})" for part, names in SPELLINGS.items())
"""A regular expression for a part in small letters, whose groups are the parts."""


def part_of(name: str) -> str | None:
    """The part that a folder of this name holds, or None for any other name."""
    return next((part for part, names in SPELLINGS.items() if name.lower() in names), None)

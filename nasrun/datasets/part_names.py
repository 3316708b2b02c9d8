"""The names by which the files of users call the three parts of a data set."""

import re

TRAIN, VALIDATION, TEST = "train", "validation", "test"

SPELLINGS = {
    TRAIN: ("train", "training"),
    VALIDATION: ("val", "valid", "validation", "dev"),
    TEST: ("test", "testing"),
}
"""Each in small letters; capitals make no difference."""

PATTERN = "|".join(f"(?P<{part}>{'|'.join(names)})" for part, names in SPELLINGS.items())
"""A regular expression for a part in small letters, whose groups are the parts."""


FILLERS = {"set", "data", "dataset", "folder", "images", "image", "img", "imgs", "photos", "pictures", "split", "seg"}
"""Words beside that of a part in the name of its folder, as in `training_set`, `test-images`, `seg_train`."""


def part_of(name: str) -> str | None:
    """The part that a folder of this name holds, or None for any other name."""
    words = [word for word in re.split(r"[^a-z]+", name.lower().removesuffix("set")) if word and word not in FILLERS]
    return next((part for part, names in SPELLINGS.items() if len(words) == 1 and words[0] in names), None)

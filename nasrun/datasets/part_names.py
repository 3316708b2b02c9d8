"""Common names of the three parts of a data set in users' files."""

import re

TRAIN, VALIDATION, TEST = "train", "validation", "test"

SPELLINGS = {
    TRAIN: ("train", "training"),
    VALIDATION: ("val", "valid", "validation", "dev"),
    TEST: ("test", "testing"),
}
"""Names in lower case; case is ignored."""

PATTERN = "|".join(f"(?P<{part}>{'|'.join(names)})" for part, names in SPELLINGS.items())
"""A regular expression for the name of a part in lower case, with one group per part."""


FILLERS = {"set", "data", "dataset", "folder", "images", "image", "img", "imgs", "photos", "pictures", "split", "seg"}
"""Additional words in the folder name of a part, as in `training_set`, `test-images`, `seg_train`."""


def part_of(name: str) -> str | None:
    """The part for a folder name, or None for any other name."""
    words = [word for word in re.split(r"[^a-z]+", name.lower().removesuffix("set")) if word and word not in FILLERS]
    return next((part for part, names in SPELLINGS.items() if len(words) == 1 and words[0] in names), None)

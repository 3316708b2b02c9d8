"""An overview of a data set before training: counts, equal images, ignored files.

It is printed on the console and by `dry_run=true`, and stored for the report (`nasrun.reports.data`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from nasrun.core.options import printable
from nasrun.core.words import counted
from nasrun.datasets.base import Dataset, Split, Splits
from nasrun.datasets.mapped import image_digests
from nasrun.datasets.notes import Picture, ReadingNotes, describe_counts

FEW = 5
"""Classes with fewer images cause a warning."""
NAMED = 12
"""Maximum number of classes named in a line; the others are counted."""
UNEQUAL = 5
"""Ratio of the largest to the smallest class above which options for unbalanced classes are suggested."""

_VERBS = {
    "train": "to train",
    "validation": "to validate",
    "test": "to test",
    "left_out": "left for the final training",
}


@dataclass(frozen=True)
class EqualImages:
    """Counts of images with equal pixels, at the size of the network's input.

    `within`: by part, the number of repetitions. `validation_in_train`: validation images that are also training images
    of the search; `test_in_training`: test images that are also training images of the winner. `in_two_classes`:
    different images with more than one class.
    """

    within: dict[str, int]
    validation_in_train: int
    test_in_training: int
    in_two_classes: int


@dataclass(frozen=True)
class Overview:
    """`classes`: their names. `images`: by part, the number per class; for regression a single number. Parts: `train`,
    `validation`, `test`, and `left_out` if `dataset.train_samples` reserves some for the final training.
    `validation_is_test`: whether architectures are compared on the test images. `size`: height and width of the
    network's input. `notes`: remarks from reading.
    """

    classes: tuple[str, ...]
    images: dict[str, list[int]]
    validation_is_test: bool
    size: tuple[int, int]
    equal: EqualImages
    notes: ReadingNotes

    @property
    def totals(self) -> list[int]:
        """Number of images per class over all parts."""
        parts = [counts for part, counts in self.images.items() if not (part == "test" and self.validation_is_test)]
        return [sum(counts) for counts in zip(*parts, strict=True)]

    @property
    def largest_test_share(self) -> float:
        """The share of the most frequent class in the test images, which is the accuracy of always predicting it."""
        return max(self.images["test"]) / sum(self.images["test"])

    @property
    def largest_test_class(self) -> str:
        """The most frequent class in the test images."""
        return self.classes[self.images["test"].index(max(self.images["test"]))]

    def lines(self) -> list[str]:
        """The overview as lines of text, followed by the warnings."""
        return [*self.facts(), *(f"warning: {text}" for text in self.warnings())]

    def facts(self) -> list[str]:
        """The overview as lines of text."""
        return list(map(printable, self._facts()))

    def warnings(self) -> list[str]:
        """Problems that make results less meaningful, one line each."""
        return list(map(printable, self._warnings()))

    def _facts(self) -> Iterator[str]:
        told = ", ".join(f"{sum(counts):,} {_VERBS[part]}" for part, counts in self.images.items())
        if self.classes:
            totals = self.totals
            largest = totals.index(max(totals))
            share = f"the largest {self.classes[largest]} with {100 * totals[largest] / sum(totals):.1f} %"
            share = "equally many of each" if len(set(totals)) == 1 else share
            told += f"; {counted(len(totals), 'class', 'classes')}, {share}"
        yield f"images: {told}"
        if self.classes:
            yield f"images of each class ({' + '.join(self.images)}): {self._by_class()}"
            if max(self.totals) >= UNEQUAL * min(self.totals):
                yield (
                    "unbalanced classes: to weight all classes equally, search with objective=val_balanced_accuracy "
                    "and train with evaluator.class_weights=balanced"
                )
        if self.notes.smallest and self.notes.largest:
            sizes = _sizes(self.notes.smallest, self.notes.largest)
            yield f"pictures: {sizes}, read at {self.size[1]} x {self.size[0]}"
        yield from self.notes.remarks
        if self.notes.passed_over:
            total = sum(self.notes.passed_over.values())
            yield f"ignored: {counted(total, 'file')}: {describe_counts(self.notes.passed_over)}"
        within = [f"{count:,} {_VERBS[part]}" for part, count in self.equal.within.items() if count]
        if within:
            yield f"equal images: {', '.join(within)} repeat another one of the same part"
        if self.notes.equal:
            yield f"equal files: {', '.join(f'{one} = {other}' for one, other in self.notes.equal)} (the first found)"

    def _by_class(self) -> str:
        rows = list(zip(*self.images.values(), strict=True))
        if len(set(rows)) == 1:
            return " + ".join(f"{count:,}" for count in rows[0])
        told = [
            f"{name} {'+'.join(f'{count:,}' for count in row)}" for name, row in zip(self.classes, rows, strict=True)
        ]
        if len(told) > NAMED:
            order = np.argsort(self.totals, kind="stable")
            ends = [told[place] for place in (*order[: NAMED // 2], *order[-(NAMED // 2) :])]
            return f"{', '.join(ends[: NAMED // 2])}, ..., {', '.join(ends[NAMED // 2 :])} (smallest and largest)"
        return ", ".join(told)

    def _warnings(self) -> Iterator[str]:
        tested, compared = sum(self.images["test"]), sum(self.images["validation"])
        copy = "; is one part a copy of the other?"
        if count := self.equal.test_in_training:
            hint = copy if 2 * count > tested else ""
            yield f"{count:,} of {tested:,} test images are also in training, so the test result is too high{hint}"
        if (count := self.equal.validation_in_train) and not self.validation_is_test:
            hint = copy if 2 * count > compared else ""
            yield f"{count:,} of {compared:,} validation images are also in training, so memorising wins{hint}"
        if count := self.equal.in_two_classes:
            yield f"{counted(count, 'image')} in more than one class"
        if self.classes:
            yield from self._class_warnings()

    def _class_warnings(self) -> Iterator[str]:
        few = [f"{name} ({count})" for name, count in zip(self.classes, self.totals, strict=True) if count < FEW]
        if few:
            yield f"fewer than {FEW} images: {_listed(few)}; add more, or leave these classes out"
        for part in ("validation", "test"):
            missing = [name for name, count in zip(self.classes, self.images[part], strict=True) if not count]
            if missing:
                yield f"no {part} image of {_listed(missing)}, so these classes are not measured there"


def overview_of(dataset: Dataset) -> Overview | None:
    """The overview of a loaded data set; None if it is not loaded."""
    splits = dataset.loaded
    if splits is None:
        return None
    parts = {"train": splits.train, "validation": splits.validation, "test": splits.test}
    parts |= {"left_out": splits.left_out} if splits.left_out is not None else {}
    classes = max(1, len(splits.classes))
    images = {name: np.bincount(part.labels, minlength=classes).tolist() for name, part in parts.items()}
    height, width = splits.train.images.shape[2:]
    same = splits.validation is splits.test
    return Overview(splits.classes, images, same, (height, width), _equal_images(splits, parts), dataset.notes)


def _equal_images(splits: Splits, parts: dict[str, Split]) -> EqualImages:
    same = splits.validation is splits.test
    digests = {name: [row.tobytes() for row in image_digests(part.images)] for name, part in parts.items()}
    distinct = {name: set(found) for name, found in digests.items()}
    training = set().union(*(found for name, found in distinct.items() if name in ("train", "left_out")))
    training |= set() if same else distinct["validation"]
    classes: dict[bytes, int] = {}
    in_two: set[bytes] = set()
    for name, part in parts.items():
        for digest, label in zip(digests[name], part.labels.tolist(), strict=True):
            if classes.setdefault(digest, label) != label:
                in_two.add(digest)
    return EqualImages(
        {name: len(found) - len(distinct[name]) for name, found in digests.items()},
        sum(digest in distinct["train"] for digest in digests["validation"]),
        sum(digest in training for digest in digests["test"]),
        len(in_two),
    )


def as_json(overview: Overview) -> dict[str, Any]:
    """The overview as plain JSON values."""
    content = asdict(overview)
    for name in ("smallest", "largest"):
        picture = content["notes"][name]
        content["notes"][name] = None if picture is None else picture._asdict()
    return content


def from_json(content: dict[str, Any]) -> Overview:
    """The overview from the result of `as_json`; KeyError, TypeError, ValueError or AttributeError if it is
    malformed."""
    equal, notes = content["equal"], content["notes"]
    classes = tuple(map(str, content["classes"]))
    images = {part: [int(count) for count in content["images"][part]] for part in _VERBS if part in content["images"]}
    if any(len(images[part]) != max(1, len(classes)) for part in ("train", *images)) or not sum(images["test"]):
        raise ValueError("the counts do not fit the classes")
    height, width = map(int, content["size"])
    smallest, largest = (
        None if one is None else Picture(int(one["width"]), int(one["height"]), str(one["file"]))
        for one in (notes["smallest"], notes["largest"])
    )
    return Overview(
        classes,
        images,
        bool(content["validation_is_test"]),
        (height, width),
        EqualImages(
            {part: int(equal["within"][part]) for part in images},
            *(int(equal[name]) for name in ("validation_in_train", "test_in_training", "in_two_classes")),
        ),
        ReadingNotes(
            tuple(map(str, notes["remarks"])),
            {str(reason): int(count) for reason, count in notes["passed_over"].items()},
            smallest,
            largest,
            tuple((str(one), str(other)) for one, other in notes["equal"]),
        ),
    )


def _sizes(smallest: Picture, largest: Picture) -> str:
    if smallest[:2] == largest[:2]:
        return f"{smallest.width:,} x {smallest.height:,} pixels"
    return " to ".join(f"{one.width:,} x {one.height:,} ({one.file})" for one in (smallest, largest)) + " pixels"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more

"""Data set `image_folder`: the user's own image files, in one folder per class. Needs Pillow (`nasrun[images]`)."""

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import numpy as np

from nasrun.core import Task
from nasrun.core.home import at_home
from nasrun.core.options import FilePath, IsPath
from nasrun.core.words import counted
from nasrun.datasets import splitting
from nasrun.datasets.base import TEST_STREAM, Count, Dataset, DatasetError, Raw, Seed, Share, Split
from nasrun.datasets.image_cache import AUTO, ReadImages, read_images
from nasrun.datasets.image_files import (
    HIDDEN,
    SUFFIXES,
    CorruptImageError,
    ImageError,
    ImageReader,
    Resize,
    find_images,
    refusal,
)
from nasrun.datasets.mapped import taken
from nasrun.datasets.notes import Picture, ReadingNotes, describe_counts
from nasrun.datasets.part_names import TEST, TRAIN, VALIDATION, part_of

LEFT_BY_ZIP = "__MACOSX"
"""A folder of hidden files in zip files created on a Mac."""
EXAMPLES = 3
"""Maximum number of pairs of equal images named."""
CHANGES = {
    "with several frames: the first is read": "frames",
    "transparent in places: the colours there are read, the transparency is dropped": "transparent",
}
"""Remarks on images with losses, and the field of their records."""


class _Layout(NamedTuple):
    """The folders of the classes of each part; None if a part is split off the training images."""

    train: Path
    validation: Path | None
    test: Path | None

    @property
    def folders(self) -> list[Path]:
        """The existing folders."""
        return [folder for folder in self if folder is not None]


class ImageFolder(Dataset):
    """Image files below `path/<class>/`, or below `path/train/<class>/` and `path/test/<class>/`, `path/val/<class>/`.

    Classes are numbered by sorted folder name, and images are sorted by name, including those in subfolders of a class.
    Without a folder of their own, the test set and the validation set are shares of the images, stratified by class.
    Transparency is dropped, and photographs are rotated according to their EXIF orientation.
    """

    name = "image_folder"

    def __init__(
        self,
        *,
        path: FilePath,
        height: Count = 32,
        width: Count = 32,
        channels: Literal[1, 3] = 3,
        resize: Resize = "crop",
        corrupt: Literal["refuse", "skip"] = "refuse",
        cache: Annotated[str, IsPath((AUTO,))] | None = AUTO,
        test: Share = 0.2,
        validation: Share = 0.1,
        split_seed: Seed = 0,
        train_samples: Count | None = None,
    ) -> None:
        """`height`, `width`: of all images, in pixels. `channels`: 1 for greyscale, 3 for RGB.

        `resize`: method for images of other proportions: `crop` keeps them and cuts off the excess, `pad` keeps them
        and fills with black, `stretch` does not keep them. `corrupt`: `refuse` stops with a list of files that cannot
        be read as images, `skip` ignores and counts them. `cache`: the folder for the cache file of decoded images
        (`nasrun.datasets.image_cache`). `test`: share held out as test set if there is no folder for it. The other
        options are those of `Dataset`.
        """
        super().__init__(validation=validation, split_seed=split_seed, train_samples=train_samples)
        if not 0.01 <= test <= 0.9:
            raise ValueError(f"test={test}: must be from 0.01 to 0.9")
        self.path = path
        self.shape = (int(channels), height, width)
        self.resize: Resize = resize
        self.corrupt = corrupt
        self.cache = cache
        self.test = test

    @property
    def task(self) -> Task:
        """The task from the options and the names of the folders, without reading images. DatasetError if there are
        none."""
        return Task(self.name, *self.shape, outputs=len(self._classes(self._layout().train)))

    def read(self) -> Raw:
        layout = self._layout()
        classes = self._classes(layout.train)
        for folder in layout.folders[1:]:
            for name in _folder_names(folder):
                if name not in classes:
                    raise self._error(f"{folder / name} is a class that {layout.train} does not have")
        reader = ImageReader(*self.shape, resize=self.resize)
        files = _Files(at_home(self.path), layout, classes)
        read = read_images(files.paths, reader, self.cache, skip=self.corrupt == "skip")
        if read.failures:
            raise self._refusal(read.failures)
        files.pass_over_corrupt(read.records)
        parts = files.parts(read)
        for folder, part in parts.items():
            self._check_filled(folder, part, classes, files, needed=folder == layout.train)
        training = parts[layout.train]
        validation = parts[layout.validation] if layout.validation else None
        notes = files.notes([*self._remarks(layout), *filter(None, [read.remark])], read.records)
        if layout.test:
            return Raw(training, parts[layout.test], classes, validation=validation, notes=notes)
        kept, cut_off = splitting.cut(training.labels, len(classes), self.test, self._stream(TEST_STREAM))
        if not len(cut_off):
            raise self._error(f"no class has two images ({', '.join(classes)}), so none can be kept for the test set")
        return Raw(training.take(kept), training.take(cut_off), classes, validation=validation, notes=notes)

    def _error(self, text: str) -> DatasetError:
        return DatasetError(f"dataset.path={self.path}: {text}")

    def _refusal(self, failures: Sequence[ImageError]) -> DatasetError:
        """The error that lists all unusable files."""
        hint = ""
        if any(isinstance(failure, CorruptImageError) for failure in failures):
            hint = "; to ignore files that cannot be read as images, add dataset.corrupt=skip"
        text = refusal(failures, at_home(self.path)) + hint
        return DatasetError(text) if len(failures) == 1 else self._error(text)

    def _layout(self) -> _Layout:
        """The layout of the folders; DatasetError if it is ambiguous."""
        path = at_home(self.path)
        if path.is_file():
            raise self._error("a file; unpack it to a folder per class, or read an .npz file by dataset=arrays")
        if not path.is_dir():
            raise self._error("no such folder; it must hold one folder of images per class")
        names = _folder_names(path)
        parts: dict[str, list[str]] = {}
        for name in names:
            part = part_of(name)
            if part is not None and _folder_names(path / name):
                parts.setdefault(part, []).append(name)
        if not parts:
            return _Layout(path, None, None)
        taken = [name for folders in parts.values() for name in folders]
        if TRAIN not in parts or len(taken) < len(names) or len(taken) > len(parts):
            flat = [name for name in names if part_of(name) is not None and name not in taken]
            hint = f"; {', '.join(flat)} holds no folder of a class: fill it, or move it away" if flat else ""
            raise self._error(
                f"holds the folders {', '.join(names)}; expected one folder per class, or train, val and test alone "
                f"(val or test may be missing), with one folder per class in each{hint}"
            )
        folders = {part: path / found[0] for part, found in parts.items()}
        return _Layout(folders[TRAIN], folders.get(VALIDATION), folders.get(TEST))

    def _classes(self, folder: Path) -> tuple[str, ...]:
        names = _folder_names(folder)
        if len(names) < 2:
            found = f"{counted(len(names), 'folder')}{f' ({names[0]})' if names else ''}"
            below = names and len(_folder_names(folder / names[0])) > 1
            hint = f"; are the classes in dataset.path={folder / names[0]}?" if below else ""
            if not names and (loose := len(find_images(folder)[0])):
                hint = f"; {counted(loose, 'image')} in it: move each into the folder of its class"
            raise self._error(f"{folder} holds {found}; expected one folder of images per class, at least two{hint}")
        return names

    def _check_filled(
        self, folder: Path, part: Split, classes: tuple[str, ...], files: "_Files", *, needed: bool
    ) -> None:
        """DatasetError if a part has no images, or if a part `needed` for every class lacks some."""
        counts = np.bincount(part.labels, minlength=len(classes))
        empty = [folder / name for name, count in zip(classes, counts, strict=True) if not count]
        if not empty or (len(part) and not needed):
            return
        passed_over = sum((files.passed_over[place] for place in empty), Counter[str]())
        other = f" (ignored: {describe_counts(passed_over)})" if passed_over else ""
        places = ", ".join(map(str, empty)) if len(part) else str(folder)
        holds = "hold no image" if len(part) and len(empty) > 1 else "holds no image"
        raise self._error(f"{places} {holds} that can be read{other}; known kinds: {' '.join(SUFFIXES)}")

    def _remarks(self, layout: _Layout) -> list[str]:
        """Remarks on how the folders define the parts."""
        if layout.train == at_home(self.path):
            return []
        told = []
        for part, folder in ((VALIDATION, layout.validation), (TEST, layout.test)):
            if folder is None:
                told.append(
                    f"{part} images are split off {layout.train.name}/ (dataset.{part}), because they have no folder"
                )
            elif part == VALIDATION:
                told.append(f"the validation part is {folder.name}/; dataset.validation is not used")
        return told


class _Files:
    """The image files of all parts of a data set, one part after the other, with labels.

    `paths`: of the files. `passed_over`: the number of ignored files, by class folder and reason.
    """

    def __init__(self, root: Path, layout: _Layout, classes: tuple[str, ...]) -> None:
        self._root = root
        self.passed_over: dict[Path, Counter[str]] = defaultdict(Counter)
        self.paths: list[Path] = []
        self._labels: list[int] = []
        self._parts: dict[Path, slice] = {}
        self._good = np.ones(0, dtype=bool)
        for folder in {root, *layout.folders}:
            for path in folder.iterdir():
                if path.name.startswith(".") or path.name == LEFT_BY_ZIP:
                    self.passed_over[root][HIDDEN] += 1
                elif not path.is_dir():
                    self.passed_over[root]["not in the folder of a class"] += 1
        self._folders: list[Path] = []
        for folder in layout.folders:
            start = len(self.paths)
            for label, name in enumerate(classes):
                if (folder / name).is_dir():
                    self._add(folder / name, label)
            self._parts[folder] = slice(start, len(self.paths))

    def _add(self, folder: Path, label: int) -> None:
        """Add the files of a class."""
        found, self.passed_over[folder] = find_images(folder)
        self.paths += found
        self._labels += [label] * len(found)
        self._folders += [folder] * len(found)

    def pass_over_corrupt(self, records: np.ndarray) -> None:
        """Remove files that are not images, according to their records."""
        self._good = ~records["corrupt"]
        for place in np.flatnonzero(records["corrupt"]):
            self.passed_over[self._folders[place]]["that cannot be read as images (dataset.corrupt=skip)"] += 1

    def parts(self, read: ReadImages) -> dict[Path, Split]:
        """The usable images of each part."""
        labels, places = np.array(self._labels, dtype=np.int64), np.arange(len(self.paths))
        found = {}
        for folder, whole in self._parts.items():
            chosen = places[whole][self._good[whole]]
            found[folder] = Split(taken(read.images, chosen), labels[chosen])
        return found

    def notes(self, remarks: list[str], records: np.ndarray) -> ReadingNotes:
        """Remarks on the usable images, after other remarks."""
        good = np.flatnonzero(self._good)
        changed = [
            f"{count:,} picture{'s' if count > 1 else ''} {what}"
            for what, name in CHANGES.items()
            if (count := int(records[name][good].sum()))
        ]
        pixels = records["width"].astype(np.int64) * records["height"]
        ends = (good[pixels[good].argmin()], good[pixels[good].argmax()]) if len(good) else ()
        smallest, largest = (
            Picture(int(records["width"][place]), int(records["height"][place]), self._name(place)) for place in ends
        )
        passed_over = sum(self.passed_over.values(), Counter[str]())
        equal = tuple(itertools.islice(self._equal(records["digest"], good), EXAMPLES))
        return ReadingNotes((*remarks, *changed), dict(passed_over), smallest, largest, equal)

    def _equal(self, digests: np.ndarray, good: np.ndarray) -> Iterator[tuple[str, str]]:
        """Pairs of files with equal images."""
        seen: dict[bytes, int] = {}
        for place in good.tolist():
            first = seen.setdefault(digests[place].tobytes(), place)
            if first != place:
                yield self._name(first), self._name(place)

    def _name(self, place: int) -> str:
        return str(self.paths[place].relative_to(self._root))


def _folder_names(folder: Path) -> tuple[str, ...]:
    """The sorted names of the folders in a folder, without hidden ones."""
    try:
        folders = (path.name for path in folder.iterdir() if path.is_dir() and path.name != LEFT_BY_ZIP)
        return tuple(sorted(name for name in folders if not name.startswith(".")))
    except OSError as error:
        raise DatasetError(f"{folder}: cannot be read ({error.strerror}); make it readable, or move it away") from None

"""The user's own image files, in one folder per class. Needs Pillow (`nasrun[images]`), imported only here."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from nasrun.core import Task
from nasrun.core.home import at_home
from nasrun.datasets import splitting
from nasrun.datasets.base import TEST_STREAM, Count, Dataset, DatasetError, Raw, Seed, Share, Split

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
"""Files of other kinds are passed over."""


class ImageFolder(Dataset):
    """Image files below `path/<class>/`, or below `path/train/<class>/` and `path/test/<class>/`.

    Classes are numbered in the sorted order of their folders' names, and images come in the sorted order of theirs.
    Without a `test` folder a share of the images is cut off as test set, by class. Transparency is dropped, and
    photographs are turned as their camera noted.
    """

    name = "image_folder"

    def __init__(
        self,
        *,
        path: str,
        height: Count = 32,
        width: Count = 32,
        channels: Literal[1, 3] = 3,
        resize: Literal["crop", "pad", "stretch"] = "crop",
        test: Share = 0.2,
        validation: Share = 0.1,
        split_seed: Seed = 0,
        train_samples: Count | None = None,
    ) -> None:
        """`height`, `width`: of all images, in pixels. `channels`: 1 for grey, 3 for RGB.

        `resize`: how an image of other proportions is fitted: `crop` keeps them and cuts what juts out, `pad` keeps
        them and fills up with black, `stretch` does not keep them. `test`: share that becomes the test set where
        there is no `test` folder. The other options are those of `Dataset`.
        """
        super().__init__(validation=validation, split_seed=split_seed, train_samples=train_samples)
        if not 0.01 <= test <= 0.9:
            raise ValueError(f"test={test}: must be from 0.01 to 0.9")
        self.path = path
        self.shape = (int(channels), height, width)
        self.resize = resize
        self.test = test

    @property
    def task(self) -> Task:
        """From the options and the names of the folders; no image is read. DatasetError where there are none."""
        return Task(self.name, *self.shape, outputs=len(self._classes(self._folders()[0])))

    def _read(self) -> Raw:
        training_folder, test_folder = self._folders()
        classes = self._classes(training_folder)
        training = self._load_folder(training_folder, classes)
        if test_folder is not None:
            for name in self._classes(test_folder):
                if name not in classes:
                    raise self._error(f"{test_folder / name} is a class that {training_folder} does not have")
            return Raw(training, self._load_folder(test_folder, classes, all_needed=False), classes)
        kept, cut_off = splitting.cut(training.labels, len(classes), self.test, self._stream(TEST_STREAM))
        if not len(cut_off):
            raise self._error("no class has two images, so none can be kept for the test set")
        return Raw(training.take(kept), training.take(cut_off), classes)

    def _error(self, text: str) -> DatasetError:
        return DatasetError(f"dataset.path={self.path}: {text}")

    def _folders(self) -> tuple[Path, Path | None]:
        """The folder of the training classes, and that of the test classes if there is one."""
        path = at_home(self.path)
        if not path.is_dir():
            raise self._error("no such folder; it must hold one folder of images per class")
        names = _folder_names(path)
        split = [name for name in ("train", "test") if name in names and _folder_names(path / name)]
        if not split:
            return path, None
        if split != ["train", "test"] or len(names) > 2:
            raise self._error(
                f"holds the folders {', '.join(names)}; expected one folder per class, or train and test alone"
            )
        return path / "train", path / "test"

    def _classes(self, folder: Path) -> tuple[str, ...]:
        names = _folder_names(folder)
        if len(names) < 2:
            raise self._error(f"{folder} holds {len(names)} folder(s); expected one folder of images per class")
        return names

    def _load_folder(self, folder: Path, classes: tuple[str, ...], all_needed: bool = True) -> Split:
        """All images below a folder, class by class."""
        paths, labels = [], []
        for label, name in enumerate(classes):
            files = (folder / name).glob("[!.]*")
            found = sorted(path for path in files if path.suffix.lower() in SUFFIXES)
            if not found and all_needed:
                raise self._error(f"{folder / name} holds no image; known kinds: {' '.join(SUFFIXES)}")
            paths += found
            labels += [label] * len(found)
        if not paths:
            raise self._error(f"{folder} holds no image; known kinds: {' '.join(SUFFIXES)}")
        images = np.empty((len(paths), *self.shape), dtype=np.uint8)
        for position, path in enumerate(paths):
            images[position] = self._load_image(path)
        return Split(images, np.array(labels, dtype=np.int64))

    def _load_image(self, path: Path) -> np.ndarray:
        """One image as uint8 (channels, height, width); DatasetError names a file that cannot be read."""
        try:
            from PIL import Image, ImageOps
        except ImportError:
            raise DatasetError("dataset=image_folder: needs Pillow; install nasrun[images]") from None
        if not path.is_file():  # a pipe would be waited on for ever
            raise DatasetError(f"{path}: is no file; remove it, or put an image in its place")
        try:
            with warnings.catch_warnings():
                # A picture that is far larger than any photograph is refused, not just warned about.
                warnings.simplefilter("error", Image.DecompressionBombWarning)
                with Image.open(path) as opened:
                    if opened.mode.startswith(("I", "F")):
                        raise DatasetError(f"{path}: more than 8 bits per pixel (mode {opened.mode}); save it with 8")
                    image = ImageOps.exif_transpose(opened).convert("L" if self.shape[0] == 1 else "RGB")
        except DatasetError:
            raise
        except Exception as error:  # Pillow's readers raise many kinds on damaged files, struct.error among them
            raise DatasetError(f"{path}: cannot be read as an image ({error}); replace or delete it") from None
        pixels = np.asarray(self._fit(image, ImageOps), dtype=np.uint8)
        return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)

    def _fit(self, image: "Image.Image", operations: Any) -> "Image.Image":
        """The image at the wanted size; one that has it already keeps every pixel."""
        size = (self.shape[2], self.shape[1])
        if image.size == size:
            return image
        if self.resize == "stretch":
            return image.resize(size)
        fitted: Image.Image = (operations.fit if self.resize == "crop" else operations.pad)(image, size)
        return fitted


def _folder_names(folder: Path) -> tuple[str, ...]:
    """The names of the folders in a folder, sorted, without hidden ones."""
    return tuple(sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")))

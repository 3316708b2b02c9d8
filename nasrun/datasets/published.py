"""The common base of published data sets: options, known sizes, and finding the files."""

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal
from urllib.parse import urlsplit

import numpy as np

from nasrun.core import Task
from nasrun.core.options import FilePath
from nasrun.datasets import sources
from nasrun.datasets.base import Count, Dataset, OnTest, Raw, Seed, Share, Split, refuse_samples
from nasrun.datasets.files import Published
from nasrun.datasets.idx import read_idx


class PublishedDataset(Dataset):
    """A data set whose files, sizes and checksums are known."""

    published: ClassVar[Published]
    """The files and their sources."""
    shape: ClassVar[tuple[int, int, int]]
    """Channels, height and width of an image."""
    counts: ClassVar[tuple[int, int]]
    """Number of training and of test images."""
    classes: ClassVar[tuple[str, ...]]
    """Names of the labels 0, 1, 2, ..."""

    def __init__(
        self,
        *,
        root: FilePath | None = None,
        mirrors: list[str] | None = None,
        validation: Share | OnTest = 0.1,
        split_seed: Seed = 0,
        train_samples: Count | None = None,
        pixels: Literal["standardised", "unit"] = "standardised",
    ) -> None:
        """`root`: the folder that holds the data set's own folder (`mnist/`, `fashion-mnist/`,
        `cifar-10-batches-py/`); None looks in `$NASRUN_DATA`, in the system's and the cache's folder, and downloads.

        `mirrors`: addresses to download from instead of the public ones; an empty list forbids downloads. `pixels`:
        scaling of the network's input, `standardised` by the mean and deviation of the training images, or `unit`, from
        0 to 1. The other options are those of `Dataset`. ValueError starts with the name of the option.
        """
        super().__init__(validation=validation, split_seed=split_seed, train_samples=train_samples)
        for mirror in mirrors or []:
            if urlsplit(mirror).scheme not in ("http", "https") or not urlsplit(mirror).hostname:
                raise ValueError(f"mirrors={mirror}: must be an address that begins with http:// or https://")
        kept = 0.0 if validation == "test" else validation
        available = self.counts[0] - round(kept * self.counts[0])
        if train_samples is not None and (reason := refuse_samples(train_samples, available, len(self.classes))):
            raise ValueError(reason)
        self.pixels = pixels
        self.root = root
        self.mirrors = mirrors

    @property
    def task(self) -> Task:
        """Known in advance; no file is read."""
        return Task(self.name, *self.shape, outputs=len(self.classes))

    def _statistics(self, train: Split) -> tuple[tuple[float, ...], tuple[float, ...]]:
        if self.pixels == "unit":
            return (0.0,) * self.shape[0], (1.0,) * self.shape[0]
        return super()._statistics(train)

    def read(self) -> Raw:
        return self._parse(sources.find(self.name, self.published, self.root, self.mirrors))

    @abstractmethod
    def _parse(self, paths: Mapping[str, Path]) -> Raw:
        """Read and verify the content of the files."""


class IdxDataset(PublishedDataset):
    """A published data set of four IDX files, named as MNIST's are."""

    def _parse(self, paths: Mapping[str, Path]) -> Raw:
        splits = []
        for prefix, count in zip(("train", "t10k"), self.counts, strict=True):
            images = self._read_file(paths, f"{prefix}-images-idx3-ubyte", (count, *self.shape[1:]))
            labels = self._read_file(paths, f"{prefix}-labels-idx1-ubyte", (count,))
            splits.append(Split(images.reshape(count, *self.shape), labels.astype(np.int64)))
        return Raw(splits[0], splits[1], self.classes)

    def _read_file(self, paths: Mapping[str, Path], name: str, shape: tuple[int, ...]) -> np.ndarray:
        sha256 = next(file.sha256 for file in self.published.files if file.name == name)
        return read_idx(paths[name], shape, sha256)

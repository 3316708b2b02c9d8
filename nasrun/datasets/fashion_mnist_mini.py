"""A sixth of Fashion-MNIST, shipped with nasrun, without download. MIT licence, Zalando SE."""

import hashlib
import lzma
from importlib.resources import files

import numpy as np

from nasrun.core import Task
from nasrun.datasets.base import Count, Dataset, DatasetError, Raw, Seed, Share, Split, refuse_samples
from nasrun.datasets.fashion_mnist import CLASSES

TRAINING, TEST, SIDE = 10_000, 2_000, 28
FILE = "fashion_mnist_mini.xz"
SHA256 = "b27160246f759addb54f492c639077be17d812979f923b94c507c84788f534f6"
"""SHA-256 of the unpacked file: 12,000 labels, then 12,000 images of 784 pixels, one byte each, training before
test."""


class FashionMnistMini(Dataset):
    """The first 1,000 training and the first 200 test images of each class of Fashion-MNIST, unchanged and in their
    original order. Created by `scripts/make_fashion_mnist_mini.py`."""

    name = "fashion_mnist_mini"

    def __init__(self, *, validation: Share = 0.1, split_seed: Seed = 0, train_samples: Count | None = None) -> None:
        """The options of `Dataset`. ValueError starts with the name of the option."""
        super().__init__(validation=validation, split_seed=split_seed, train_samples=train_samples)
        available = TRAINING - round(validation * TRAINING)
        if train_samples is not None and (reason := refuse_samples(train_samples, available, len(CLASSES))):
            raise ValueError(reason)

    @property
    def task(self) -> Task:
        """Known in advance; no file is read."""
        return Task(self.name, 1, SIDE, SIDE, outputs=len(CLASSES))

    def read(self) -> Raw:
        file = files("nasrun.datasets") / "data" / FILE
        try:
            data = lzma.decompress(file.read_bytes())
        except (OSError, lzma.LZMAError) as error:
            raise DatasetError(f"{file}: cannot be read ({error}); install nasrun again") from None
        content = hashlib.sha256(data).hexdigest()
        if content != SHA256:
            raise DatasetError(f"{file}: wrong content: SHA-256 {content}, not {SHA256}; install nasrun again")
        count = TRAINING + TEST
        labels = np.frombuffer(data, dtype=np.uint8, count=count).astype(np.int64)
        images = np.frombuffer(data, dtype=np.uint8, offset=count).reshape(count, 1, SIDE, SIDE).copy()
        return Raw(Split(images[:TRAINING], labels[:TRAINING]), Split(images[TRAINING:], labels[TRAINING:]), CLASSES)

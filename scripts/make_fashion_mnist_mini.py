"""Make nasrun/datasets/data/fashion_mnist_mini.xz from Fashion-MNIST; the same bytes each time (with liblzma 5).

    python scripts/make_fashion_mnist_mini.py [OUTPUT]

It takes the first 1,000 training and the first 200 test images of each class, in the order of the original, and writes
their labels and then their pixels, one byte each, as one xz stream.
"""

import argparse
import hashlib
import lzma
from pathlib import Path

import numpy as np

from nasrun.datasets.fashion_mnist import CLASSES, FashionMnist
from nasrun.datasets.fashion_mnist_mini import FILE, TEST, TRAINING


def first_of_each_class(labels: np.ndarray, number: int) -> np.ndarray:
    """The sorted indices of the first `number` images of each class."""
    return np.sort(np.concatenate([np.flatnonzero(labels == label)[:number] for label in range(len(CLASSES))]))


def make() -> tuple[bytes, bytes]:
    """The unpacked and the packed content of the file."""
    raw = FashionMnist().read()
    labels, images = [], []
    for split, number in ((raw.training, TRAINING), (raw.test, TEST)):
        part = split.take(first_of_each_class(split.labels, number // len(CLASSES)))
        labels.append(part.labels.astype(np.uint8).tobytes())
        images.append(np.asarray(part.images).tobytes())
    content = b"".join(labels + images)
    # The filter is written out, so that another version's preset does not change the bytes.
    lzma2 = {"id": lzma.FILTER_LZMA2, "preset": 9, "dict_size": 1 << 24}
    return content, lzma.compress(content, format=lzma.FORMAT_XZ, check=lzma.CHECK_CRC64, filters=[lzma2])


def main() -> None:
    """Write the file and print its contents."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = Path(__file__).resolve().parents[1] / "nasrun" / "datasets" / "data" / FILE
    parser.add_argument("output", type=Path, nargs="?", default=default, metavar="OUTPUT", help="that of nasrun")
    output: Path = parser.parse_args().output
    unpacked, packed = make()
    output.write_bytes(packed)
    print(f"{output}: {len(packed):,} bytes; SHA-256 unpacked {hashlib.sha256(unpacked).hexdigest()}")


if __name__ == "__main__":
    main()

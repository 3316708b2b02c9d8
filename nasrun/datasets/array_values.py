"""Converts labels and pixels of users' arrays to nasrun's formats: integers or text, one per image, and bytes.

Each function converts unambiguous values and describes the conversion; otherwise it raises ValueError, which says what
is expected.
"""

import numpy as np

from nasrun.core.words import counted

_BRIGHT = 128
"""Minimum of the largest value for floats on the scale 0 to 255; a maximum between 1 and this value is ambiguous."""

_CHUNK = 1024


def plain_labels(labels: np.ndarray, *, all_used: bool) -> tuple[np.ndarray, str | None]:
    """Labels as integers or text, (N,), and a description of a conversion, if any.

    Accepted: integers and text; floats with integer values; booleans; UTF-8 bytes; each of these also as (N, 1);
    one-hot (N, classes). `all_used`: whether each column of one-hot labels must be used.
    """
    found = f"{labels.dtype} of the shape {labels.shape}"
    read = []
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
        read.append("a column")
    if labels.dtype.kind == "S":
        labels = np.char.decode(labels, "utf-8")
        read.append("bytes, read as text")
    elif labels.dtype.kind == "b":
        labels = labels.astype(np.int64)
        read.append("true and false, read as 1 and 0")
    elif labels.dtype.kind == "f":
        if not np.isfinite(labels).all() or (labels != np.round(labels)).any():
            raise ValueError(f"are {found} and not all whole; expected whole numbers or text, one per image")
        labels = labels.astype(np.int64)
        read.append("floats that are all whole")
    if labels.ndim == 2 and labels.shape[1] > 1 and labels.dtype.kind in "iu":
        labels = _positions(labels, all_used)
        read.append("one-hot, read as the number of the column")
    if labels.ndim != 1 or labels.dtype.kind not in "iuU":
        raise ValueError(f"are {found}; expected whole numbers or text, one per image")
    return labels, " and ".join(read) or None


def _positions(rows: np.ndarray, all_used: bool) -> np.ndarray:
    """The index of the 1 in each row of one-hot labels (N, classes)."""
    if rows.min() < 0 or rows.max() > 1 or (rows.sum(axis=1) != 1).any():
        raise ValueError(f"have the shape {rows.shape}, and not one 1 in each row; expected one label per image")
    unused = np.flatnonzero(rows.sum(axis=0) == 0)
    if all_used and len(unused):
        raise ValueError(f"are one-hot, and column {unused[0]} is 1 for no image; leave it out, or add its images")
    columns: np.ndarray = rows.argmax(axis=1)
    return columns


def class_values(labels: np.ndarray) -> tuple[np.ndarray, str | None]:
    """The classes among plain labels, in order, and a remark if numbers do not start with 0."""
    classes = np.unique(labels)
    if len(classes) < 2:
        raise ValueError(
            f"hold {len(classes)} class{f' ({classes[0]})' if len(classes) else ''}; at least 2 are needed"
        )
    if labels.dtype.kind == "U" or np.array_equal(classes, np.arange(len(classes))):
        return classes, None
    if np.array_equal(classes, np.arange(1, len(classes) + 1)):
        return classes, f"from 1 to {len(classes)}: the first class is {classes[0]}"
    raise ValueError(
        f"run from {classes[0]} to {classes[-1]} in {counted(len(classes), 'class', 'classes')}; they must be 0 to "
        f"{len(classes) - 1} or 1 to {len(classes)}, each in use; or text, as by labels.astype(str)"
    )


def pixel_bytes(images: np.ndarray) -> tuple[np.ndarray, str | None]:
    """Images as uint8 from 0 to 255, and a description of a conversion, if any.

    Accepted: bytes; booleans; other integers from 0 to 255; floats from 0 to 1, or from 0 to 255.
    """
    if images.dtype == np.uint8:
        return images, None
    if images.dtype.kind == "b":
        return images * np.uint8(255), "true and false, read as 255 and 0"
    low, high = images.min(), images.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ValueError(f"hold {counted((~np.isfinite(images)).sum(), 'infinite or undefined value')}")
    kind = f"{images.dtype} from {low:g} to {high:g}"
    if images.dtype.kind in "iu":
        if low < 0 or high > 255:
            raise ValueError(
                f"are {kind}; bytes go from 0 to 255: scale them, as by "
                f"((images - {low}) * (255 / {int(high) - int(low)})).round().astype('uint8')"
            )
        return images.astype(np.uint8), kind
    if low < 0 or 1 < high < _BRIGHT or high > 255:
        raise ValueError(f"are {kind}; floats must go from 0 to 1, or from 0 to 255")
    scale = 255 if high <= 1 else 1
    pixels = np.empty(images.shape, dtype=np.uint8)
    for start in range(0, len(images), _CHUNK):
        pixels[start : start + _CHUNK] = (images[start : start + _CHUNK] * scale).round()
    return pixels, f"{kind}, {'times 255' if scale == 255 else 'as they are'}, rounded to bytes"

"""The user's own `.npz` files."""

from pathlib import Path

import numpy as np
import pytest
import small_sets

from nasrun.datasets import DatasetError
from nasrun.datasets.arrays import Arrays
from tests.support import fingerprint

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (60, 9, 7), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (60, 3, 9, 7), dtype=np.uint8)
LABELS = np.arange(60) % 3


def save(folder: Path, **arrays: np.ndarray) -> str:
    path = folder / "mine.npz"
    np.savez_compressed(path, **arrays)
    return str(path)


@pytest.mark.parametrize(
    ("images", "layout", "expected"),
    [
        (GREY, "auto", GREY[:, None]),
        (GREY, "nhw", GREY[:, None]),
        (COLOUR, "auto", COLOUR),
        (COLOUR.transpose(0, 2, 3, 1), "auto", COLOUR),
        (COLOUR.transpose(0, 2, 3, 1), "nhwc", COLOUR),
        (COLOUR[:, :, :, :3], "nchw", COLOUR[:, :, :, :3]),
        (COLOUR[:, :, :, :3], "nhwc", COLOUR[:, :, :, :3].transpose(0, 3, 1, 2)),
        (RNG.integers(0, 256, (60, 5, 4, 6), dtype=np.uint8), "nchw", None),
    ],
)
def test_layouts(tmp_path: Path, images: np.ndarray, layout: str, expected: np.ndarray | None) -> None:
    path = save(tmp_path, images=images, labels=LABELS, test_images=images[:6], test_labels=LABELS[:6])
    data = Arrays(path=path, layout=layout)
    expected = images if expected is None else expected
    raw = data._read()
    assert (raw.training.images == expected).all()
    assert (raw.training.labels == LABELS).all()
    assert (raw.test.images == expected[:6]).all()
    assert raw.training.images.flags.c_contiguous
    assert (data.task.channels, data.task.height, data.task.width) == expected.shape[1:]
    assert data.task.outputs == 3


@pytest.mark.parametrize("shape", [(60, 3, 9, 3), (60, 9, 8, 7)])
def test_an_ambiguous_layout_is_asked_for(tmp_path: Path, shape: tuple[int, ...]) -> None:
    path = save(tmp_path, images=np.zeros(shape, dtype=np.uint8), labels=LABELS)
    for use in (lambda: Arrays(path=path).task, lambda: Arrays(path=path).load()):
        with pytest.raises(DatasetError, match=r"set dataset.layout=nhwc or dataset.layout=nchw"):
            use()


def test_a_test_set_is_cut_by_class_where_there_is_none(tmp_path: Path) -> None:
    path = save(tmp_path, images=GREY, labels=LABELS)
    data = Arrays(path=path, test=0.25, validation=0.2)
    splits = data.load()
    assert [len(split) for split in (splits.train, splits.validation, splits.test)] == [36, 9, 15]
    assert (np.bincount(splits.test.labels) == 5).all()
    parts = (splits.train, splits.validation, splits.test)
    assert sorted(image.tobytes() for part in parts for image in part.images) == sorted(i.tobytes() for i in GREY)
    other = Arrays(path=path, test=0.25, validation=0.2, split_seed=1)
    assert fingerprint(other) != fingerprint(data) == fingerprint(Arrays(path=path, test=0.25, validation=0.2))


def test_text_labels_are_numbered_in_sorted_order(tmp_path: Path) -> None:
    words = np.array(["zebra", "ant", "cow"])[LABELS]
    path = save(tmp_path, images=GREY, labels=words, test_images=GREY[:2], test_labels=words[:2])
    raw = Arrays(path=path)._read()
    assert raw.classes == ("ant", "cow", "zebra")
    assert (np.array(raw.classes)[raw.training.labels] == words).all()
    assert raw.test.labels.tolist() == [2, 0]


@pytest.mark.parametrize("kind", [np.uint8, np.int32, np.uint64])
def test_any_whole_numbers_are_labels(tmp_path: Path, kind: type) -> None:
    splits = Arrays(path=save(tmp_path, images=GREY, labels=LABELS.astype(kind))).load()
    assert splits.train.labels.dtype == np.int64
    assert splits.classes == ("0", "1", "2")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": GREY}, "holds no array 'labels', only images"),
        ({"x": GREY, "y": LABELS}, "holds no array 'images', only x, y"),
        ({"images": GREY, "labels": LABELS, "test_images": GREY}, "holds no array 'test_labels'"),
        ({"images": GREY / 255, "labels": LABELS}, "images are float64; they must be uint8"),
        ({"images": GREY[0], "labels": LABELS}, r"images have the shape \(9, 7\); expected \(N, H, W\)"),
        ({"images": GREY[:0], "labels": LABELS[:0]}, r"images have the shape \(0, 9, 7\)"),
        ({"images": GREY, "labels": LABELS[:-1]}, r"labels have the shape \(59,\); expected \(60,\)"),
        ({"images": GREY, "labels": LABELS + 1}, "labels run from 1 to 3 in 3 classes; they must be 0 to 2"),
        ({"images": GREY, "labels": LABELS * 2}, "labels run from 0 to 4 in 3 classes"),
        ({"images": GREY, "labels": LABELS / 2}, "labels are float64"),
        ({"images": GREY, "labels": LABELS[:, None]}, r"labels are int64 of the shape \(60, 1\)"),
        ({"images": GREY, "labels": LABELS * 0}, "labels hold 1 class; at least 2"),
        ({"images": GREY, "labels": LABELS.astype(object)}, "'labels' is refused: it is an array of objects"),
        ({"images": GREY.astype(object), "labels": LABELS}, "images are object; they must be uint8"),
        (
            {"images": GREY, "labels": LABELS, "test_images": GREY, "test_labels": LABELS + 1},
            "test_labels hold 3, which is not among labels",
        ),
        (
            {"images": GREY, "labels": LABELS, "test_images": GREY, "test_labels": LABELS.astype(str)},
            "test_labels are <U21 and labels are int64; they must agree",
        ),
        (
            {"images": GREY, "labels": LABELS, "test_images": GREY[:, :5], "test_labels": LABELS},
            r"test_images are 1 x 5 x 7 and images 1 x 9 x 7",
        ),
    ],
)
def test_unusable_arrays_are_refused_by_name(tmp_path: Path, arrays: dict[str, np.ndarray], message: str) -> None:
    path = save(tmp_path, **arrays)
    with pytest.raises(DatasetError, match=f"^dataset.path={path}: .*{message}") as error:
        Arrays(path=path).load()
    assert "\n" not in str(error.value)


def test_a_layout_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"does not fit dataset.layout=nchw"):
        Arrays(path=save(tmp_path, images=GREY, labels=LABELS), layout="nchw").load()


def test_files_that_are_no_npz_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    with pytest.raises(DatasetError, match="no such file"):
        Arrays(path=str(path)).load()
    np.save(tmp_path / "mine.npy", GREY)
    (tmp_path / "mine.npy").rename(path)
    with pytest.raises(DatasetError, match=r"not a whole .npz file"):
        Arrays(path=str(path)).load()
    save(tmp_path, images=GREY, labels=LABELS)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DatasetError, match=r"not a whole .npz file"):
        Arrays(path=str(path)).task  # noqa: B018
    path.write_bytes(whole[:300] + bytes([whole[300] ^ 255]) + whole[301:])
    with pytest.raises(DatasetError, match="the array 'images' is damaged"):
        Arrays(path=str(path)).load()


def test_damage_in_an_uncompressed_file_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    np.savez(path, images=GREY, labels=LABELS)
    whole = bytearray(path.read_bytes())
    whole[2000] ^= 1
    path.write_bytes(whole)
    with pytest.raises(DatasetError, match="the array 'images' is damaged"):
        Arrays(path=str(path)).load()


def test_real_images_come_through_unchanged(tmp_path: Path) -> None:
    training = small_sets.mini().training.take(np.arange(500))
    path = save(tmp_path, images=training.images, labels=training.labels)
    splits = Arrays(path=path).load()
    known = {image.tobytes(): label for image, label in zip(training.images, training.labels, strict=True)}
    for part in (splits.train, splits.validation, splits.test):
        assert all(known[i.tobytes()] == label for i, label in zip(part.images, part.labels, strict=True))


def test_test_share_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^test=0.95: must be from 0.01 to 0.9"):
        Arrays(path="somewhere", test=0.95)

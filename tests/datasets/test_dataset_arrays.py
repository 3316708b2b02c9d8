"""The user's own `.npz` files."""

from pathlib import Path

import numpy as np
import pytest
import small_sets

from nasrun.datasets import DatasetError
from nasrun.datasets.array_names import role_of
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
    raw = data.read()
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
    raw = Arrays(path=path).read()
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
        ({"images": GREY}, "has no array 'labels', only images"),
        ({"a": GREY, "b": LABELS}, "has no array 'images', only a, b"),
        ({"images": GREY, "labels": LABELS, "test_images": GREY}, "has no array 'test_labels'"),
        ({"images": GREY, "labels": LABELS, "y_val": LABELS}, "has no array 'val_images'"),
        (
            {"x": GREY, "x_train": GREY, "labels": LABELS},
            "the arrays x and x_train could both be images; name the right",
        ),
        ({"images": GREY - 1.0, "labels": LABELS}, "images are float64 from -1 to 254; floats must go from 0 to 1, or"),
        ({"images": GREY / 250, "labels": LABELS}, "images are float64 from 0 to 1.02; floats must go from 0 to 1, or"),
        ({"images": GREY * 2.0, "labels": LABELS}, "images are float64 from 0 to 510; floats must"),
        (
            {"images": np.where(GREY > 9, np.nan, GREY), "labels": LABELS},
            "images hold [0-9,]+ infinite or undefined values",
        ),
        ({"images": GREY * np.uint16(16), "labels": LABELS}, r"images are uint16 from 0 to 4080; .*255 / 4080\)"),
        (
            {"images": GREY.astype(np.int8), "labels": LABELS},
            "images are int8 from -128 to 127; bytes go from 0 to 255",
        ),
        ({"images": GREY.astype(complex), "labels": LABELS}, "images are complex128; they must be numbers"),
        ({"images": GREY[0], "labels": LABELS}, r"images have the shape \(9, 7\); expected \(N, H, W\)"),
        ({"images": GREY[:0], "labels": LABELS[:0]}, r"images have the shape \(0, 9, 7\)"),
        ({"images": GREY, "labels": LABELS[:-1]}, r"labels have the shape \(59,\); expected \(60,\)"),
        ({"images": GREY, "labels": LABELS + 2}, "labels run from 2 to 4 in 3 classes; they must be 0 to 2 or 1 to 3"),
        ({"images": GREY, "labels": LABELS * 2}, "labels run from 0 to 4 in 3 classes"),
        ({"images": GREY, "labels": LABELS / 2}, r"labels are float64 of the shape \(60,\) and not all whole"),
        ({"images": GREY, "labels": np.where(LABELS, np.nan, 0)}, "labels are float64 .* and not all whole"),
        ({"images": GREY, "labels": np.eye(3)[LABELS] * 0.9}, r"labels are float64 of the shape \(60, 3\) and not"),
        (
            {"images": GREY, "labels": np.eye(3, dtype=int)[LABELS] * 2},
            r"labels have the shape \(60, 3\), and not one 1",
        ),
        ({"images": GREY, "labels": np.ones((60, 3), dtype=int)}, r"labels have the shape \(60, 3\), and not one 1"),
        ({"images": GREY, "labels": np.eye(4)[LABELS]}, "labels are one-hot, and column 3 is 1 for no image"),
        ({"images": GREY, "labels": np.zeros((60, 2, 2), dtype=int)}, r"labels are int64 of the shape \(60, 2, 2\)"),
        ({"images": GREY, "labels": LABELS * 0}, r"labels hold 1 class \(0\); at least 2"),
        (
            {"images": GREY, "labels": LABELS.astype(object)},
            r"'labels' is refused: .*, e\.g\. with labels\.astype\(str\)$",
        ),
        ({"images": GREY.astype(object), "labels": LABELS}, "images are object; they must be numbers"),
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
    with pytest.raises(DatasetError, match=r"a folder; of image files it is dataset=image_folder"):
        Arrays(path=str(tmp_path)).load()
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


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        (LABELS.astype(np.float32), "floats that are all whole"),
        (LABELS[:, None], "a column"),
        (LABELS[:, None].astype(float), "a column and floats that are all whole"),
        (np.eye(3, dtype=np.uint8)[LABELS], "one-hot, read as the number of the column"),
        (np.eye(3)[LABELS], "floats that are all whole and one-hot, read as the number of the column"),
        (
            np.eye(3, dtype=bool)[LABELS],
            "true and false, read as 1 and 0 and one-hot, read as the number of the column",
        ),
        (LABELS, None),
    ],
)
def test_labels_that_can_mean_one_thing_only(tmp_path: Path, labels: np.ndarray, told: str | None) -> None:
    data = Arrays(path=save(tmp_path, images=GREY, labels=labels, test_images=GREY[:6], test_labels=labels[:6]))
    raw = data.read()
    assert raw.training.labels.tolist() == LABELS.tolist()
    assert raw.test.labels.tolist() == LABELS[:6].tolist()
    assert raw.classes == ("0", "1", "2")
    assert data.task.outputs == 3
    assert raw.notes.remarks == ((f"labels: {told}", f"test_labels: {told}") if told else ())


def test_labels_from_1_keep_their_names(tmp_path: Path) -> None:
    data = Arrays(
        path=save(tmp_path, images=GREY, labels=LABELS + 1.0, test_images=GREY[:6], test_labels=LABELS[:6] + 1)
    )
    raw = data.read()
    assert raw.classes == ("1", "2", "3")
    assert raw.training.labels.tolist() == LABELS.tolist()
    assert raw.test.labels.tolist() == LABELS[:6].tolist()
    assert raw.notes.remarks == ("labels: floats that are all whole", "labels: from 1 to 3: the first class is 1")


def test_bytes_are_text(tmp_path: Path) -> None:
    words = np.array([b"zebra", b"ant", "k\u00fch".encode()])[LABELS]
    raw = Arrays(path=save(tmp_path, images=GREY, labels=words)).read()
    assert raw.classes == ("ant", "k\u00fch", "zebra")
    assert raw.notes.remarks == ("labels: bytes, read as text",)


@pytest.mark.parametrize(
    ("images", "told"),
    [
        (GREY / 255, "float64 from 0 to 1, times 255, rounded to bytes"),
        ((GREY / 255).astype(np.float32), "float32 from 0 to 1, times 255, rounded to bytes"),
        (GREY.astype(np.float32), "float32 from 0 to 255, as they are, rounded to bytes"),
        (GREY.astype(np.int64), "int64 from 0 to 255"),
        (GREY.astype(np.uint16), "uint16 from 0 to 255"),
        (GREY, None),
    ],
)
def test_pixels_that_can_mean_one_thing_only(tmp_path: Path, images: np.ndarray, told: str | None) -> None:
    data = Arrays(path=save(tmp_path, images=images, labels=LABELS, test_images=images[:6], test_labels=LABELS[:6]))
    assert data.task.height == 9
    raw = data.read()
    assert (raw.training.images[:, 0] == GREY).all()
    assert (raw.test.images[:, 0] == GREY[:6]).all()
    assert raw.notes.remarks[: bool(told)] == ((f"images: {told}",) if told else ())


def test_true_and_false_are_white_and_black(tmp_path: Path) -> None:
    raw = Arrays(
        path=save(tmp_path, images=GREY > 99, labels=LABELS, test_images=GREY[:6], test_labels=LABELS[:6])
    ).read()
    assert (raw.training.images[:, 0] == np.where(GREY > 99, 255, 0)).all()
    assert raw.training.images.dtype == np.uint8


@pytest.mark.parametrize(
    "names",
    [
        ("x_train", "y_train", "x_val", "y_val", "x_test", "y_test"),
        ("X_train", "Y_train", "X_valid", "Y_valid", "X_test", "Y_test"),
        ("train_images", "train_labels", "val_images", "val_labels", "test_images", "test_labels"),
        ("images_train", "labels_train", "images-dev", "labels-dev", "images.testing", "labels.testing"),
        ("x", "y", "xval", "yval", "xtest", "ytest"),
        ("images", "labels", "val_images", "val_labels", "test_images", "test_labels"),
    ],
)
def test_names_of_keras_and_others(tmp_path: Path, names: tuple[str, ...]) -> None:
    """A validation part of one's own: nothing is cut off for it, and the winner is trained on it too."""
    places = (slice(0, 40), slice(0, 40), slice(40, 50), slice(40, 50), slice(50, 60), slice(50, 60))
    arrays = {name: (GREY, LABELS)[number % 2][places[number]] for number, name in enumerate(names)}
    data = Arrays(path=save(tmp_path, **arrays, ids=np.arange(40)), validation=0.5)
    splits = data.load()
    for part, place in ((splits.train, places[0]), (splits.validation, places[2]), (splits.test, places[4])):
        assert (part.images[:, 0] == GREY[place]).all()
        assert part.labels.tolist() == LABELS[place].tolist()
    assert len(splits.whole_training) == 50
    told = "\n".join(data.notes.remarks)
    assert ("recognised by name: " in told) == (names[0] != "images")
    assert all(
        f"{name} (" in told
        for name in names
        if name[:6] not in ("images", "labels", "val_im", "val_la", "test_i", "test_l")
    )
    assert f"the validation part is {names[2]}; dataset.validation is not used" in told
    assert "arrays ignored: ids" in told


def test_an_array_with_the_name_of_its_role_goes_first(tmp_path: Path) -> None:
    data = Arrays(path=save(tmp_path, images=GREY, labels=LABELS, x=GREY[:3], target=LABELS[:3]))
    assert len(data.load().whole_training) == 48
    assert data.notes.remarks == ("arrays ignored: target, x",)


@pytest.mark.parametrize(
    "name", ["weights", "ids", "images2", "test", "arr_0", "labels_extra", "x_train_extra", "yy", ""]
)
def test_other_names_have_no_role(name: str) -> None:
    assert role_of(name) is None


def test_a_validation_part_must_fit_too(tmp_path: Path) -> None:
    path = save(tmp_path, images=GREY, labels=LABELS, val_images=GREY[:, :5], val_labels=LABELS)
    with pytest.raises(DatasetError, match=r"val_images are 1 x 5 x 7 and images 1 x 9 x 7 \(channels"):
        Arrays(path=path).load()
    path = save(tmp_path, images=GREY, labels=LABELS, val_images=GREY, val_labels=LABELS + 1)
    with pytest.raises(DatasetError, match="val_labels hold 3, which is not among labels"):
        Arrays(path=path).load()


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

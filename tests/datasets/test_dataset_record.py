"""What a run records of its data: the same for the same data wherever they lie, and words for what differs."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nasrun.datasets import Dataset, DatasetError, Split, Splits
from nasrun.datasets.arrays import Arrays
from nasrun.datasets.fashion_mnist import FashionMnist
from nasrun.datasets.fashion_mnist_mini import FashionMnistMini
from nasrun.datasets.gap_filling import GapFilling
from nasrun.datasets.record import DataRecord, RecordedDataset, difference, record_of
from nasrun.datasets.synthetic import Synthetic
from nasrun.datasets.table_only import TableOnly
from tests.support import fingerprint, with_options
from tests.training.auto_encoders import smooth


@pytest.fixture
def mini() -> DataRecord:
    return recorded(FashionMnistMini())


def recorded(dataset: Dataset) -> DataRecord:
    dataset.load()
    return record_of(dataset)


def changed(change: Callable[[Splits], Splits]) -> DataRecord:
    """The record of the shipped data with something else in them."""
    dataset = FashionMnistMini()
    dataset.hold(change(FashionMnistMini().load()))
    return record_of(dataset)


def of_train(splits: Splits, **arrays: np.ndarray) -> Splits:
    return replace(splits, train=replace(splits.train, **arrays))


def one_pixel(splits: Splits) -> Splits:
    images = splits.train.images.copy()
    images[-1, 0, -1, -1] ^= 1
    return of_train(splits, images=images)


def one_label(splits: Splits) -> Splits:
    labels = splits.train.labels.copy()
    labels[0] = (labels[0] + 1) % 10
    return of_train(splits, labels=labels)


def two_swapped(splits: Splits) -> Splits:
    """An image of the training part and one of the validation part in each other's place."""
    parts = [splits.train, splits.validation]
    both = [part.take(np.arange(len(part))) for part in parts]
    for mine, theirs in zip(both, reversed(parts), strict=True):
        mine.images[0], mine.labels[0] = theirs.images[0], theirs.labels[0]
    return replace(splits, train=both[0], validation=both[1])


def turned(splits: Splits) -> Splits:
    order = np.arange(len(splits.train))[::-1]
    return replace(splits, train=splits.train.take(order))


def one_less(splits: Splits) -> Splits:
    return replace(splits, test=splits.test.take(np.arange(len(splits.test) - 1)))


WORDS: list[tuple[Callable[[Splits], Splits], str]] = [
    (one_pixel, "contents: the same number of images, but different images or labels in train"),
    (one_label, "contents: the same number of images, but different images or labels in train"),
    (two_swapped, "split: the same images in different parts or in a different order"),
    (turned, "split: the same images in different parts or in a different order"),
    (one_less, "test images: 2,000 then, 1,999 now"),
    (lambda s: replace(s, mean=(0.5,)), "normalisation: mean 0.286225 then, 0.5 now"),
    (lambda s: replace(s, background=0.5), "normalisation: background 0 then, 0.5 now"),
    (lambda s: replace(s, classes=("Shirt", *s.classes[1:])), "class names: T-shirt/top then only"),
    (lambda s: replace(s, classes=("Robe", *s.classes[1:])), "class names: T-shirt/top then, Robe now"),
    (lambda s: replace(s, classes=s.classes[::-1]), "class names: the same in a different order"),
]


@pytest.mark.parametrize(("change", "words"), WORDS)
def test_what_differs_is_said(change: Callable[[Splits], Splits], words: str, mini: DataRecord) -> None:
    other = changed(change)
    said = difference(mini, other)
    assert said is not None
    assert said.startswith(words)
    assert mini.fingerprint != other.fingerprint
    assert difference(other, mini) is not None


def test_nothing_differs_in_equal_data(mini: DataRecord) -> None:
    assert difference(mini, recorded(FashionMnistMini())) is None
    assert difference(mini, changed(lambda splits: splits)) is None
    # Libraries that add floats in another order move the last digit.
    nearly = replace(mini, mean=tuple(np.nextafter(mini.mean, 1)))
    assert difference(mini, nearly) is None
    assert nearly.fingerprint == mini.fingerprint


@pytest.mark.parametrize(
    "dataset",
    [
        FashionMnistMini(train_samples=50),
        Synthetic(channels=3, train_samples=40),
        FashionMnist(validation="test", pixels="unit", train_samples=30),
        TableOnly(name="cifar100"),
    ],
    ids=lambda dataset: dataset.name,
)
def test_a_record_is_read_back_from_json(dataset: Dataset) -> None:
    record = record_of(dataset) if dataset.name == "cifar100" else recorded(dataset)
    read = DataRecord.from_json(json.loads(json.dumps(record.to_json())))
    assert read == record
    assert read.fingerprint == record.fingerprint == record.to_json()["fingerprint"]
    assert (record.fingerprint is None) == (dataset.name == "cifar100")


def test_targets_and_weights_count(tmp_path: Path) -> None:
    np.save(tmp_path / "picture.npy", smooth())
    splits = with_options(GapFilling, path=str(tmp_path / "picture.npy"), size=16, region=40, patches=None).load()

    def record(train: Split) -> DataRecord:
        dataset = with_options(GapFilling, path=str(tmp_path / "picture.npy"), size=16, region=40, patches=None)
        dataset.hold(replace(splits, train=train))
        return record_of(dataset)

    base = record(splits.train)
    assert splits.train.targets is not None
    assert splits.train.weights is not None
    for name, array in (("targets", splits.train.targets + 1), ("weights", 1 - splits.train.weights)):
        other = record(replace(splits.train, **{name: array}))
        assert difference(base, other) == "contents: the same number of images, but different images or labels in train"


def test_where_the_data_lie_and_how_makes_no_difference(tmp_path: Path) -> None:
    splits = FashionMnistMini().load()
    images, labels = splits.train.images, splits.train.labels
    named = np.array([f"class {label}" for label in labels])
    (tmp_path / "deep").mkdir()
    np.savez(tmp_path / "one.npz", images=images[:, 0], labels=named)
    np.savez_compressed(tmp_path / "deep" / "other.npz", images=images.transpose(0, 2, 3, 1), labels=named)
    first, second = (Arrays(path=str(tmp_path / name)) for name in ("one.npz", "deep/other.npz"))
    assert fingerprint(first) == fingerprint(second)
    assert difference(recorded(first), recorded(second)) is None


def test_data_that_were_not_read_differ_in_their_task_alone(mini: DataRecord) -> None:
    unread = record_of(FashionMnistMini())
    assert unread.to_json() == {"fingerprint": None, "task": vars(FashionMnistMini().task)}
    assert difference(unread, mini) is None
    other = DataRecord(replace(unread.task, outputs=4, height=32))
    assert difference(unread, other) == "task: 1 x 28 x 28 to 10 classes then, 1 x 32 x 28 to 4 classes now"


def test_the_data_set_of_a_record_has_its_task_and_no_images(mini: DataRecord) -> None:
    dataset = RecordedDataset(mini)
    assert (dataset.name, dataset.task) == ("fashion_mnist_mini", FashionMnistMini().task)
    with pytest.raises(DatasetError, match="only the record of a run is available, without images"):
        dataset.load()


@pytest.mark.parametrize(
    "damage",
    [
        {"task": {"name": "x"}},
        {"task": None},
        {"task": {"name": "x", "channels": -1, "height": 2, "width": 2, "outputs": 2}},
        {"task": {"name": "x", "channels": 1.5, "height": 2, "width": 2, "outputs": 2}},
        {"mean": [0.1, 0.2]},
        {"mean": ["x"]},
        {"counts": {"train": "many"}},
        {"classes": None},
    ],
)
def test_a_record_that_makes_no_sense_is_refused(damage: dict, mini: DataRecord) -> None:
    with pytest.raises((ValueError, TypeError, LookupError)):
        DataRecord.from_json({**mini.to_json(), **damage})

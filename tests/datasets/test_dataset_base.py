"""What all data sets share: split, statistics, subsets, fingerprint, YAML."""

import importlib
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf

from nasrun.core.options import ConfigError, check_section, options
from nasrun.datasets import Dataset, DatasetError, Split
from nasrun.datasets.base import channel_statistics
from nasrun.datasets.fashion_mnist import FashionMnist
from nasrun.datasets.fashion_mnist_mini import FashionMnistMini
from nasrun.datasets.mnist import Mnist
from nasrun.datasets.synthetic import Synthetic
from nasrun.datasets.table_only import TableOnly
from tests.support import fingerprint

ROOT = Path(__file__).resolve().parents[2]
CONF = ROOT / "conf" / "dataset"
SETS = ("arrays", "cifar10", "fashion_mnist", "fashion_mnist_mini", "gap_filling", "image_folder", "mnist", "synthetic")
TABLE_ONLY = ("cifar100", "imagenet16")
"""Names without images, which have none of the other options."""


def test_split_sizes_types_and_balance() -> None:
    splits = FashionMnistMini().load()
    for split, size in ((splits.train, 9000), (splits.validation, 1000), (splits.test, 2000)):
        assert split.images.shape == (size, 1, 28, 28)
        assert split.images.dtype == np.uint8
        assert split.images.flags.c_contiguous
        assert split.images.flags.writeable
        assert split.labels.dtype == np.int64
        assert (np.bincount(split.labels) == size // 10).all()
    assert splits.classes[9] == "Ankle boot"


def test_no_image_is_in_two_parts_and_none_is_lost() -> None:
    data = FashionMnistMini()
    splits = data.load()
    whole = splits.whole_training
    assert len(whole) == 10_000
    assert (whole.images[:9000] == splits.train.images).all()
    assert (whole.labels[9000:] == splits.validation.labels).all()
    read = sorted(image.tobytes() for image in data.read().training.images)
    assert sorted(image.tobytes() for image in whole.images) == read


def test_images_left_out_of_the_search_are_there_for_the_final_training() -> None:
    splits = FashionMnistMini(train_samples=1000).load()
    assert (len(splits.train), len(splits.whole_training)) == (1000, 10_000)
    everything = sorted(image.tobytes() for image in FashionMnistMini().load().whole_training.images)
    assert sorted(image.tobytes() for image in splits.whole_training.images) == everything


def test_statistics_are_those_of_the_training_part() -> None:
    splits = Synthetic(channels=3, samples=3000, classes=4).load()
    pixels = splits.train.images.astype(np.float64) / 255
    assert splits.mean == pytest.approx(pixels.mean(axis=(0, 2, 3)), abs=1e-12)
    assert splits.std == pytest.approx(pixels.std(axis=(0, 2, 3)), abs=1e-9)


@pytest.mark.parametrize("value", [0, 7, 255])
def test_constant_channels_have_a_standard_deviation(value: int) -> None:
    mean, std = channel_statistics(np.full((3, 2, 4, 4), value, dtype=np.uint8))
    assert mean == pytest.approx((value / 255, value / 255))
    assert std == (1 / 255, 1 / 255)


def test_fewer_training_samples_leave_the_rest_as_it_is() -> None:
    whole, few, fewer = (FashionMnistMini(train_samples=n).load() for n in (None, 500, 200))
    assert (np.bincount(few.train.labels) == 50).all()
    assert (few.validation.images == whole.validation.images).all()
    assert (few.test.images == whole.test.images).all()
    images = {image.tobytes() for image in few.train.images}
    assert {image.tobytes() for image in fewer.train.images} <= images
    assert images <= {image.tobytes() for image in whole.train.images}
    assert few.mean == channel_statistics(few.train.images)[0] != whole.mean


@pytest.mark.parametrize("samples", [9001, 5])
def test_impossible_train_samples_are_refused_before_anything_is_read(samples: int) -> None:
    with pytest.raises(ValueError, match=f"^train_samples={samples}: must be at"):
        FashionMnistMini(train_samples=samples)
    with pytest.raises(ValueError, match=f"^train_samples={samples * 10}: must be at most 54000|^train_samples=5: "):
        FashionMnist(train_samples=samples * 10 if samples > 10 else samples)
    with pytest.raises(DatasetError, match=f"^dataset.train_samples={samples}: must be at"):
        Synthetic(train_samples=samples).load()


@pytest.mark.parametrize("wrong", [{"validation": 0.95}, {"validation": 0.0}, {"split_seed": -1}, {"train_samples": 0}])
def test_options_out_of_range_are_refused_by_name(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"^{next(iter(wrong))}="):
        Synthetic(**wrong)


def test_split_seed_changes_the_split_and_the_fingerprint() -> None:
    first, same, other = FashionMnistMini(), FashionMnistMini(split_seed=0), FashionMnistMini(split_seed=1)
    assert fingerprint(first) == fingerprint(same)
    assert fingerprint(first) != fingerprint(other)
    assert not (first.load().validation.images == other.load().validation.images).all()
    assert (first.load().test.images == other.load().test.images).all()


def test_architectures_can_be_compared_on_the_test_images_which_are_never_trained_on() -> None:
    splits = FashionMnist(validation="test", train_samples=100, pixels="unit").load()
    assert splits.validation is splits.test
    assert (len(splits.train), len(splits.whole_training)) == (100, 60_000)
    assert (splits.mean, splits.std) == ((0.0,), (1.0,))
    assert len(FashionMnist(validation="test").load().train) == 60_000


def test_the_split_is_what_it_was_when_it_was_first_recorded() -> None:
    # Results name their split by its seed: the same seed must mean the same images for ever.
    expected = "cb6e969fd9450213ea05d3201fe2dad3fd9590d9bea9fa7b21fd9f683f852dae"
    assert fingerprint(FashionMnistMini()) == expected


def test_a_pickled_data_set_carries_no_images() -> None:
    data = FashionMnistMini(split_seed=3)
    splits = data.load()
    assert data.load() is splits
    pickled = pickle.dumps(data)
    assert len(pickled) < 1000
    assert (pickle.loads(pickled).load().validation.labels == splits.validation.labels).all()


def test_split_refuses_other_arrays() -> None:
    images, labels = np.zeros((2, 1, 3, 3), dtype=np.uint8), np.zeros(2, dtype=np.int64)
    for wrong in ((images.astype(np.float32), labels), (images[:, 0], labels), (images, labels[:1])):
        with pytest.raises(ValueError, match="must be"):
            Split(*wrong)


def test_synthetic_classes_can_be_learned_and_noise_makes_it_harder() -> None:
    accuracies = []
    for noise in (0.05, 2.0):
        splits = Synthetic(noise=noise, classes=5, channels=3, height=9, width=7, samples=500).load()
        assert splits.train.images.shape == (450, 3, 9, 7)
        train = splits.train.images.reshape(450, -1).astype(float)
        centres = np.stack([train[splits.train.labels == label].mean(axis=0) for label in range(5)])
        test = splits.test.images.reshape(len(splits.test), -1)
        nearest = ((test[:, None] - centres) ** 2).sum(axis=2).argmin(axis=1)
        accuracies.append((nearest == splits.test.labels).mean())
    assert accuracies[0] == 1.0
    assert accuracies[1] < 0.9


def test_synthetic_seed_makes_the_data() -> None:
    first, same, other = (Synthetic(data_seed=seed).load().test.images for seed in (0, 0, 1))
    assert (first == same).all()
    assert not (first == other).all()
    with pytest.raises(ValueError, match=r"^samples=12: "):
        Synthetic(samples=12, classes=10)


def test_every_yaml_is_the_schema_of_its_class() -> None:
    assert sorted(path.stem for path in CONF.glob("*.yaml")) == sorted((*SETS, *TABLE_ONLY))


@pytest.mark.parametrize("name", TABLE_ONLY)
def test_table_only_sets_have_a_name_and_nothing_else(name: str) -> None:
    values = OmegaConf.to_container(OmegaConf.load(CONF / f"{name}.yaml"))
    assert values == {"_target_": "nasrun.datasets.table_only.TableOnly", "name": name}
    data = TableOnly(**check_section(TableOnly, {"name": name}, "dataset"))
    assert data.name == data.task.name == name
    with pytest.raises(ConfigError, match=r"^dataset\.name=cifar10: unknown"):
        check_section(TableOnly, {"name": "cifar10"}, "dataset")
    with pytest.raises(DatasetError, match=f"^dataset={name}: has no images, only results in benchmark tables"):
        data.load()


@pytest.mark.parametrize("name", SETS)
def test_yaml_matches_class_and_explains_itself(name: str) -> None:
    path = CONF / f"{name}.yaml"
    lines = path.read_text().splitlines()
    assert lines[0].startswith("# ")
    values = OmegaConf.to_container(OmegaConf.load(path))
    assert isinstance(values, dict)
    module, class_name = values.pop("_target_").rsplit(".", 1)
    cls = getattr(importlib.import_module(module), class_name)
    assert issubclass(cls, Dataset)
    assert cls.name == name
    assert list(values) == list(options(cls))
    defaults = {key: parameter.default for key, parameter in options(cls).items() if key != "path"}
    assert {key: value for key, value in values.items() if key != "path"} == defaults
    if values.get("path") == "???":
        with pytest.raises(ConfigError, match=r"dataset\.path: not set"):
            check_section(cls, values, "dataset")
        values["path"] = "somewhere"
    assert cls(**check_section(cls, values, "dataset")).name == name
    assert all("#" in line for line in lines if not line.startswith("_target_"))
    with pytest.raises(ConfigError, match=r"dataset.validation=0.95: must be from 0.01 to 0.9"):
        check_section(cls, {**values, "validation": 0.95}, "dataset")


@pytest.mark.parametrize("cls", [FashionMnist, Mnist])
def test_task_of_a_known_set_needs_no_file(cls: type[FashionMnist] | type[Mnist]) -> None:
    task = cls(root="/nowhere", mirrors=[]).task
    assert (task.name, task.channels, task.height, task.width, task.outputs) == (cls.name, 1, 28, 28, 10)


def test_importing_data_sets_imports_neither_torch_nor_what_a_download_needs() -> None:
    modules = ", ".join(f"nasrun.datasets.{name}" for name in SETS)
    late = ("torch", "rich", "PIL", "filelock", "matplotlib", "tifffile")
    code = f"import sys, {modules}; print([m for m in {late} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

"""The images on which exported files are compared: the test images of the run, or random ones if the data are missing
or have changed."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from omegaconf import DictConfig, OmegaConf

from nasrun.config.stored_run import DataChangedError, StoredRun, load_data
from nasrun.core import Task
from nasrun.core.options import ConfigError, nearest
from nasrun.datasets import DatasetError, Splits
from nasrun.datasets.mapped import Images as SomeImages
from nasrun.storage.paths import data_there, movable, whole_path

RANDOM_IMAGES = 256


class Images(NamedTuple):
    """Images uint8 (N, channels, height, width) on which outputs are compared.

    `splits`: the data of the run, whose test images they are; None if they are random. `reason`: why they are random,
    in one line; None if the data were not requested. `changed`: data exist, but differ from those of the run.
    `movable`: the key of their location.
    """

    images: SomeImages
    splits: Splits | None
    reason: str | None = None
    changed: bool = False
    movable: str | None = None

    @property
    def kind(self) -> str:
        """Their description in messages."""
        return "test images" if self.splits is not None else "random images"


def images_of_run(stored: StoredRun, places: Mapping[str, Any]) -> Images:
    """The test images of a run if its data exist and are unchanged, else random images.

    `places`: typed dotted keys with the new location of the data. ConfigError for other keys, if there are no data, or
    if the class of the data set must not be imported.
    """
    config = _moved(stored, places)
    try:
        splits = load_data(stored, config).load()
    except DatasetError as error:
        if stored.data is None or places:
            raise
        changed = isinstance(error, DataChangedError) or data_there(config, stored.header)
        key = next(iter(_movable(stored)), None)
        return random_images(stored.data.task)._replace(reason=str(error), changed=changed, movable=key)
    return Images(splits.test.images, splits)


def random_images(task: Task) -> Images:
    """Images of random bytes, the same on every call."""
    shape = (RANDOM_IMAGES, task.channels, task.height, task.width)
    return Images(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8), None)


def _movable(stored: StoredRun) -> list[str]:
    return [key for key in movable(stored.header) if key.startswith("dataset.")]


def _moved(stored: StoredRun, places: Mapping[str, Any]) -> DictConfig:
    """The config of a run with its data at another location."""
    config, known = stored.config.copy(), _movable(stored)
    for key, value in places.items():
        if key not in known:
            raise ConfigError(f"{key}: cannot be changed here; {nearest(key, known)}")
        OmegaConf.update(config, key, whole_path(value))
    return config

"""Data sets that exist only in benchmark tables: names and shapes, without images."""

from typing import Literal, NoReturn

from nasrun.core import Task
from nasrun.datasets.base import Dataset, DatasetError

OUTPUTS = {"cifar100": (32, 100), "imagenet16": (16, 120)}
"""Height and width of the images in pixels, and the number of classes."""


class TableOnly(Dataset):
    """CIFAR-100, or ImageNet16-120 (the first 120 classes of ImageNet at 16 x 16 pixels), for benchmark tables."""

    def __init__(self, *, name: Literal["cifar100", "imagenet16"]) -> None:
        """`name`: the data set. Without images there are no other options."""
        super().__init__()
        self.name = name

    @property
    def task(self) -> Task:
        """Known in advance: three channels, and the values of `OUTPUTS`."""
        side, classes = OUTPUTS[self.name]
        return Task(self.name, 3, side, side, classes)

    def read(self) -> NoReturn:
        raise DatasetError(
            f"dataset={self.name}: has no images, only results in benchmark tables; choose evaluator=table or another "
            "dataset"
        )

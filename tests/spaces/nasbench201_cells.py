"""Cells of NAS-Bench-201 for several tests."""

from itertools import product
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from nasrun.core import Genome
from nasrun.spaces.nasbench201.encoding import OPERATIONS
from nasrun.spaces.nasbench201.space import NASBench201

CONFIG = Path(__file__).resolve().parents[2] / "conf" / "search_space" / "nasbench201.yaml"
EVERYTHING: list[Genome] = list(product(OPERATIONS, repeat=6))
EXAMPLE: Genome = ("nor_conv_3x3", "none", "skip_connect", "avg_pool_3x3", "nor_conv_1x1", "skip_connect")


# As the benchmark stores them: string, then the parameters for CIFAR-10, CIFAR-100 and ImageNet16-120.
STORED = [
    ("|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|", 129306),
    ("|nor_conv_3x3~0|+|nor_conv_3x3~0|avg_pool_3x3~1|+|skip_connect~0|nor_conv_3x3~1|skip_connect~2|", 802426),
    ("|avg_pool_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|avg_pool_3x3~0|avg_pool_3x3~1|avg_pool_3x3~2|", 559386),
    ("|avg_pool_3x3~0|+|skip_connect~0|none~1|+|none~0|none~1|skip_connect~2|", 73306),
    ("|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|", 1073466),
    ("|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|", 1288506),
    ("|nor_conv_1x1~0|+|nor_conv_1x1~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|", 858426),
    ("|nor_conv_1x1~0|+|none~0|nor_conv_1x1~1|+|none~0|nor_conv_1x1~1|nor_conv_1x1~2|", 185306),
    ("|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|nor_conv_3x3~0|nor_conv_3x3~1|nor_conv_3x3~2|", 1531546),
    ("|none~0|+|none~0|none~1|+|none~0|none~1|none~2|", 73306),
]


def space(**changes: Any) -> NASBench201:
    options: Any = OmegaConf.to_container(OmegaConf.load(CONFIG))
    del options["_target_"]
    return NASBench201(**{**options, **changes})

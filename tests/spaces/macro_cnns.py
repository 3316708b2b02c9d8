"""Search spaces of CNNs with poolings, and their genomes, for several tests."""

from itertools import product
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from omegaconf import OmegaConf

from nasrun.core import Genome, Task
from nasrun.spaces.macro_cnn.space import MacroCNN

CONFIG = Path(__file__).resolve().parents[2] / "conf" / "search_space" / "macro_cnn.yaml"
FASHION = Task("fashion", 1, 28, 28, 10)
EXAMPLE: Genome = (5, 32, "pool", 64, 64, "pool")


def space(**changes: Any) -> MacroCNN:
    options: Any = OmegaConf.to_container(OmegaConf.load(CONFIG))
    del options["_target_"]
    return MacroCNN(**{**options, "channels": [8, 16, 32, 64], **changes})


def small(**changes: Any) -> MacroCNN:
    """Few enough genomes to count them all."""
    return space(**{"depths": [2, 4], "channels": [1, 2], "max_pools": 1, **changes})


def everything(tested: MacroCNN, depths: tuple[int, ...] = (2, 4), channels: tuple[int, ...] = (1, 2)) -> list[Genome]:
    """Every genome, found by trying all rows of layers."""
    rows = [row for depth in depths for row in product(("pool", *channels), repeat=depth)]
    return [(len(row), *row) for row in rows if row.count("pool") <= tested.max_pools]


@st.composite
def spaces(draw: st.DrawFn) -> MacroCNN:
    depths = draw(st.lists(st.integers(1, 9), min_size=1, max_size=4, unique=True))
    return MacroCNN(
        depths=depths,
        channels=draw(st.lists(st.integers(1, 40), min_size=1, max_size=4, unique=True)),
        max_pools=draw(st.integers(0, min(depths) - 1)),
        batch_norm=draw(st.booleans()),
        dense=draw(st.integers(1, 50)),
    )


seeds = st.integers(0, 2**32 - 1)

"""Search spaces of CNNs in a row, and their genomes, for several tests."""

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from omegaconf import OmegaConf

from nasrun.core import Genome
from nasrun.spaces.sequential_cnn.space import SequentialCNN

CONFIG = Path(__file__).resolve().parents[2] / "conf" / "search_space" / "sequential_cnn.yaml"
ACTIVATIONS = ["relu", "sigmoid", "tanh", "swish", "gelu"]


def space(**changes: Any) -> SequentialCNN:
    options: Any = OmegaConf.to_container(OmegaConf.load(CONFIG))
    del options["_target_"]
    return SequentialCNN(**{**options, **changes})


def small(**changes: Any) -> SequentialCNN:
    """Few enough genomes to count them all."""
    options = {"min_depth": 2, "max_depth": 4, "filters": [8, 16], "kernels": [3], "activations": ["relu"]}
    return space(**{**options, **changes})


def layers(genome: Genome) -> list[Genome]:
    return [genome[i : i + 4] for i in range(1, len(genome), 4)]


def join(parts: list[Genome]) -> Genome:
    return (len(parts), *(token for part in parts for token in part))


def everything(
    depths: range, filters: list[int], kernels: Sequence[int] = (3,), names: Sequence[str] = ("relu",)
) -> list[Genome]:
    """Every genome, found by trying all rows of layers."""
    alphabet = list(product("NR", filters, kernels, names))
    rows = (list(row) for depth in depths for row in product(alphabet, repeat=depth))
    return [join(row) for row in rows if sum(part[0] == "R" for part in row) == 2]


@st.composite
def spaces(draw: st.DrawFn) -> SequentialCNN:
    low = draw(st.integers(2, 6))
    return SequentialCNN(
        min_depth=low,
        max_depth=draw(st.integers(low, low + 4)),
        filters=draw(st.lists(st.integers(1, 511), min_size=1, max_size=6, unique=True)),
        kernels=draw(st.lists(st.sampled_from([1, 3, 5]), min_size=1, unique=True)),
        activations=draw(st.lists(st.sampled_from(ACTIVATIONS), min_size=1, unique=True)),
        batch_norm=draw(st.booleans()),
        dense=draw(st.integers(1, 100)),
    )


seeds = st.integers(0, 2**32 - 1)

"""Search spaces of dense networks for several tests."""

from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from omegaconf import OmegaConf

from nasrun.spaces.mlp.space import Mlp

CONFIG = Path(__file__).resolve().parents[2] / "conf" / "search_space" / "mlp.yaml"
ACTIVATIONS = ["relu", "sigmoid", "tanh", "swish", "gelu"]


def space(**changes: Any) -> Mlp:
    options: Any = OmegaConf.to_container(OmegaConf.load(CONFIG))
    del options["_target_"]
    return Mlp(**{**options, **changes})


def deep(**changes: Any) -> Mlp:
    """Everything that can vary does."""
    return space(**{"min_depth": 1, "max_depth": 4, "activations": ["relu", "tanh", "gelu"], **changes})


@st.composite
def spaces(draw: st.DrawFn) -> Mlp:
    low = draw(st.integers(1, 4))
    narrow = draw(st.integers(1, 3000))
    listed = st.lists(st.integers(1, 65_536), min_size=1, max_size=6, unique=True)
    return Mlp(
        min_depth=low,
        max_depth=draw(st.integers(low, low + 3)),
        min_width=narrow,
        max_width=draw(st.integers(narrow, narrow + 3000)),
        widths=draw(st.none() | listed),
        scale=draw(st.sampled_from(["log2", "linear"])),
        activations=draw(st.lists(st.sampled_from(ACTIVATIONS), min_size=1, unique=True)),
        dropout=draw(st.sampled_from([0.0, 0.2])),
    )


seeds = st.integers(0, 2**32 - 1)

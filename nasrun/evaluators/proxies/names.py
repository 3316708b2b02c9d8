"""The names of the scores that untrained networks are given, and what those are made of that combine others."""

from collections.abc import Collection
from typing import Literal

Single = Literal[
    "naswot",
    "jacob_cov",
    "synflow",
    "snip",
    "grad_norm",
    "zico",
    "expressivity",
    "progressivity",
    "trainability",
    "parameters",
    "flops",
]
"""Scores of one network by itself; of all of them more is better."""

Score = Literal[Single, "az_nas", "rank_sum"]
"""The same, and those that compare a network with others."""

PRICES = ("parameters", "flops")
"""Scores that are known by formula: nothing is built for them."""

NO_IMAGES = ("synflow", *PRICES)
"""Scores for which no data are looked at."""

AZ_NAS = ("expressivity", "progressivity", "trainability", "flops")
"""What AZ-NAS combines."""

RANKED = ("az_nas", "rank_sum")
"""Scores that are combined of the ranks of others."""


def parts_of(names: Collection[str], rank_sum: Collection[str]) -> tuple[str, ...]:
    """The scores of single networks that some scores are made of, each once. `rank_sum`: those that it adds up."""
    found: dict[str, None] = {}
    for name in names:
        parts = AZ_NAS if name == "az_nas" else rank_sum if name == "rank_sum" else (name,)
        found |= dict.fromkeys(parts)
    return tuple(found)

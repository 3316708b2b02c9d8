"""Cells of NAS-Bench-101 as sets of edges, apart from the code under test."""

from collections import Counter
from collections.abc import Iterator
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from nasrun.core import Genome
from nasrun.spaces.nasbench101.space import NASBench101

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "conf" / "search_space" / "nasbench101.yaml"
OPERATIONS = ["conv3x3", "conv1x1", "maxpool3x3"]
EXAMPLE: Genome = (4, "conv3x3", "maxpool3x3", 1, 1, 1, 0, 1, 1)
Edges = frozenset[tuple[int, int]]


def space(**changes: Any) -> NASBench101:
    options: Any = OmegaConf.to_container(OmegaConf.load(CONFIG))
    del options["_target_"]
    return NASBench101(**{**options, **changes})


def walk(tested: NASBench101) -> Iterator[Genome]:
    """Every genome that `choices` lead to."""
    prefixes: list[Genome] = [()]
    while prefixes:
        prefix = prefixes.pop()
        legal = tested.choices(prefix)
        prefixes += [(*prefix, token) for token in legal]
        if not legal:
            yield prefix


# Cells as sets of edges, apart from the code under test


def unpack(genome: Genome) -> tuple[tuple[Any, ...], Edges]:
    """Operations and edges of a genome."""
    count = int(genome[0])
    places = [(u, v) for v in range(1, count) for u in range(v)]
    return genome[1 : count - 1], frozenset(e for e, bit in zip(places, genome[count - 1 :], strict=True) if bit)


def pack(count: int, operations: Any, edges: Edges) -> Genome | None:
    """The genome of a graph, pruned; None where there is no path."""
    ahead, behind = {0}, {count - 1}
    for _ in range(count):
        ahead |= {v for u, v in edges if u in ahead}
        behind |= {u for u, v in edges if v in behind}
    kept = sorted(ahead & behind)
    if not kept:
        return None
    bits = [int((u, v) in edges) for v in kept[1:] for u in kept if u < v]
    return (len(kept), *[operations[v - 1] for v in kept[1:-1]], *bits)


@cache
def everything(vertices: int, edges: int, operations: tuple[str, ...]) -> dict[Genome, int]:
    """Every genome, and how many graphs with unpruned vertices it comes from, found by trying all of them."""
    places = [(u, v) for v in range(vertices) for u in range(v)]
    found: Counter[Genome] = Counter()
    for bits in product((0, 1), repeat=len(places)):
        chosen = frozenset(e for e, bit in zip(places, bits, strict=True) if bit)
        for row in product(operations, repeat=vertices - 2):
            genome = pack(vertices, row, chosen)
            if genome and len(unpack(genome)[1]) <= edges:
                found[genome] += 1
    return found

"""The tokens of the cells of ENAS's micro search space, and the equality of cells."""

from collections.abc import Iterator, Sequence
from functools import cache
from itertools import permutations, product
from typing import NamedTuple

from nasrun.core import Genome, Token

KERNELS = {"conv3": 3, "conv5": 5, "conv7": 7, "dil3": 3, "conv1x7": 7}
"""Kernel sizes of the operations that are convolutions."""

DILATED, FACTORISED = "dil3", "conv1x7"
"""The convolution with taps two pixels apart, and the one that is a row, then a column: neither is ever separable."""

TOKENS = 4  # of a block: two inputs, then the two operations on them


def weights_of(operation: str, channels: int, separable: bool) -> tuple[int, int]:
    """The number of weights of a convolution, and of its normalisations."""
    kernel = KERNELS[operation]
    if operation == FACTORISED:
        return 2 * kernel * channels**2, 2
    return (2 * (kernel**2 * channels + channels**2), 2) if separable else (kernel**2 * channels**2, 1)


class Place(NamedTuple):
    """One cell of the stack: its kind, its channels and output size, and how its two inputs are adapted.

    `inputs`: for the output of the cell before the last and of the last, its channels and how often it must be halved.
    `outputs`: number of outputs that join the unused blocks, one for each of the following cells that takes an output
    of its own.
    """

    kind: str
    channels: int
    height: int
    width: int
    inputs: tuple[tuple[int, int], tuple[int, int]]
    outputs: int = 1


def blocks_of(cell: Genome) -> Iterator[Genome]:
    """The four tokens of each block of a cell."""
    return (cell[start : start + TOKENS] for start in range(0, len(cell), TOKENS))


@cache
def loose_ends(cell: Genome) -> tuple[int, ...]:
    """The nodes of a cell that no block uses, ascending: they form its output. 0 and 1 are its inputs."""
    used = {token for block in blocks_of(cell) for token in block[:2]}
    return tuple(node for node in range(2 + len(cell) // TOKENS) if node not in used)


def canonical(cell: Genome) -> tuple[tuple[tuple[Token, ...], ...], ...]:
    """A canonical form: equal for two cells exactly if they differ only in the order of blocks and of the halves of
    blocks.

    Blocks are sorted by the expression that they compute, shallow ones first, so that inputs come before their uses.
    Blocks that compute the same stay separate, because each has its own weights; of their possible orders, the one with
    the smallest result is used.
    """
    blocks = list(blocks_of(cell))
    depths, texts = [0, 0], ["a", "b"]
    for one, two, first, second in blocks:
        halves = sorted((f"{first}({texts[int(one)]})", f"{second}({texts[int(two)]})"))
        depths.append(1 + max(depths[int(one)], depths[int(two)]))
        texts.append(f"[{halves[0]}+{halves[1]}]")
    groups: dict[tuple[int, str], list[int]] = {}
    for node in sorted(range(2, len(texts)), key=lambda node: (depths[node], texts[node])):
        groups.setdefault((depths[node], texts[node]), []).append(node)
    return min(
        _renamed(blocks, [node for group in order for node in group])
        for order in product(*(permutations(group) for group in groups.values()))
    )


def _renamed(blocks: Sequence[Genome], order: Sequence[int]) -> tuple[tuple[tuple[Token, ...], ...], ...]:
    """The blocks in a given order, with their inputs renamed accordingly and the halves of each sorted."""
    names = {0: 0, 1: 1} | {node: place + 2 for place, node in enumerate(order)}
    renamed = []
    for node in order:
        one, two, first, second = blocks[node - 2]
        renamed.append(tuple(sorted(((names[int(one)], first), (names[int(two)], second)))))
    return tuple(renamed)

"""Functions on tokens for all spaces: draw one, find one by a number in [0, 1], and report a wrong one."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from nasrun.core import Genome, SearchSpace
from nasrun.core.options import show

T = TypeVar("T")


def pick(values: Sequence[T], rng: np.random.Generator) -> T:
    """A uniform draw; several times faster than `rng.integers` or `rng.choice`."""
    return values[int(rng.random() * len(values))]


def value_at(values: Sequence[T], entry: float) -> T:
    """The value whose share of [0, 1] contains an entry of an encoding."""
    return values[min(int(entry * len(values)), len(values) - 1)]


def check_tokens(space: SearchSpace, genome: Genome, name: Callable[[int, Genome], str]) -> None:
    """Raise ValueError, naming the first wrong token and the legal values, unless a genome consists of legal choices of
    its space. `name`: the name of the token at a position of a genome; may be empty."""
    if not isinstance(genome, tuple):
        raise ValueError(f"genome of type {type(genome).__name__}: expected a tuple")
    for position in range(len(genome) + 1):
        legal, found = space.choices(genome[:position]), genome[position : position + 1]
        # Compare the type too: True and 1.0 equal 1, but would be different genomes in a file.
        if any(token == choice and type(token) is type(choice) for token in found for choice in legal):
            continue
        if not legal and not found:
            return
        named = name(position, genome)
        where = f"token {position} ({named})" if named else f"token {position}"
        expected = one_of(legal) if legal else "the end"
        raise ValueError(f"{where}: expected {expected}; got {repr(found[0]) if found else 'the end'}")


def one_of(values: Sequence[object]) -> str:
    """The legal values, for messages."""
    return f"one of {listed(values)}" if len(values) > 1 else str(values[0])


def listed(values: Sequence[object]) -> str:
    """The values, shortened if there are many."""
    return show(", ".join(map(str, values)))


def unexpected_layer(text: str, position: int, layer: int, expected: str) -> ValueError:
    """The error for an unexpected part at a position (from 0) of the genome string of a chain of layers."""
    found = repr(text[position:].split("-")[0] or "-")[:24] if position < len(text) else "the end"
    return ValueError(f"character {position + 1} (layer {layer}): expected {expected}; got {found}")

"""Cells of NAS-Bench-101 as graphs: pruning, hash, channels, cost and text. Nothing here imports torch.

Source: Ying et al., "NAS-Bench-101: Towards Reproducible Neural Architecture Search", ICML 2019 (arXiv 1902.09635),
section 2, and for details that the paper leaves open the code of its project google-research/nasbench: `model_spec`
(pruning), `graph_util` (hash), `model_builder` (channels).
"""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from hashlib import md5
from typing import NamedTuple

from nasrun.spaces.tokens import one_of

# The benchmark's operations, in the order in which its hash numbers them.
LABELS = {"conv3x3": 0, "conv1x1": 1, "maxpool3x3": 2}
OUTPUT = "out"

# Splits any text into the parts of a vertex; a missing or wrong part is empty or unknown.
_VERTEX = re.compile(r"([^-()+]*)(\(?)([^-()]*)(\)?)([^-]*)")


@lru_cache(maxsize=1 << 10)
def members(mask: int) -> tuple[int, ...]:
    """The positions of the bits that are set, in ascending order."""
    return tuple([place for place in range(mask.bit_length()) if mask >> place & 1])


class Cell(NamedTuple):
    """A graph whose vertices are numbered along its edges: 0 is the input, the last one the output.

    `operations`: of the vertices between the two, in order. `inputs`: for each vertex a bit mask of the vertices that
    it takes from; 0 for the input itself.
    """

    operations: tuple[str, ...]
    inputs: tuple[int, ...]

    @property
    def edges(self) -> int:
        """The number of edges."""
        return sum([mask.bit_count() for mask in self.inputs])


def live(inputs: Sequence[int]) -> int:
    """The vertices on a path from input to output, as a bit mask; 0 if there is no such path."""
    reached = 1
    last = len(inputs) - 1
    for vertex in range(1, last + 1):
        if inputs[vertex] & reached:
            reached |= 1 << vertex
    if not reached >> last:
        return 0
    needed = 1 << last
    for vertex in range(last, 0, -1):
        if needed >> vertex & 1:
            needed |= inputs[vertex]
    return reached & needed


def prune(operations: Sequence[str], inputs: Sequence[int]) -> Cell | None:
    """The cell without the vertices that are on no path from input to output; None if there is no path."""
    kept = live(inputs)
    if not kept:
        return None
    if kept == (1 << len(inputs)) - 1:
        return Cell(tuple(operations), tuple(inputs))
    vertices = [vertex for vertex in range(len(inputs)) if kept >> vertex & 1]
    return Cell(
        tuple([operations[vertex - 1] for vertex in vertices[1:-1]]),
        tuple([squeeze(inputs[vertex], kept) for vertex in vertices]),
    )


@lru_cache(maxsize=1 << 14)
def squeeze(mask: int, kept: int) -> int:
    """The bits of `mask` at the positions that are set in `kept`, moved together."""
    result = place = 0
    while kept:
        if kept & 1:
            result |= (mask & 1) << place
            place += 1
        mask, kept = mask >> 1, kept >> 1
    return result


@lru_cache(maxsize=1 << 16)
def fingerprint(cell: Cell) -> str:
    """NAS-Bench-101's hash of a pruned cell, 32 hex digits; equal for isomorphic cells.

    Every vertex starts with the MD5 of its out-degree, in-degree and label (-1 input, -2 output, else the number of the
    operation). Then, as many times as there are vertices, each vertex hashes in the sorted digests of its neighbours.
    The hash is the MD5 of all digests, sorted.
    """
    outputs = [0] * len(cell.inputs)
    for vertex, mask in enumerate(cell.inputs):
        for source in members(mask):
            outputs[source] |= 1 << vertex
    labels = [-1, *[LABELS[operation] for operation in cell.operations], -2]
    degrees = [
        (targets.bit_count(), sources.bit_count()) for targets, sources in zip(outputs, cell.inputs, strict=True)
    ]
    digests = [_md5(str((*degree, label))) for degree, label in zip(degrees, labels, strict=True)]
    around = [(members(sources), members(targets)) for sources, targets in zip(cell.inputs, outputs, strict=True)]
    for _ in cell.inputs:
        texts = []
        for own, (sources, targets) in zip(digests, around, strict=True):
            # Most vertices have one neighbour on a side, and this is the hottest loop of a search over a table.
            before = digests[sources[0]] if len(sources) == 1 else "".join(sorted([digests[u] for u in sources]))
            after = digests[targets[0]] if len(targets) == 1 else "".join(sorted([digests[w] for w in targets]))
            texts.append(f"{before}|{after}|{own}")
        digests = [_md5(text) for text in texts]
    return _md5(str(sorted(digests)))


def _md5(text: str) -> str:
    return md5(text.encode(), usedforsecurity=False).hexdigest()


def vertex_channels(inputs: Sequence[int], channels_in: int, channels_out: int) -> list[int]:
    """The output channels of each vertex of a pruned cell.

    The channels of the output are shared equally among the vertices that it takes from, except the input; the remainder
    goes to the first of them, one each (so isomorphic cells may differ by single channels). Any other vertex has as
    many as the widest vertex that takes from it.
    """
    last = len(inputs) - 1
    channels = [channels_in, *[0] * (last - 1), channels_out]
    joined = members(inputs[last] & ~1)
    for place, vertex in enumerate(joined):
        channels[vertex] = channels_out // len(joined) + (place < channels_out % len(joined))
    for vertex in range(last - 2, 0, -1):
        if not channels[vertex]:
            channels[vertex] = max(channels[w] for w in range(vertex + 1, last) if inputs[w] >> vertex & 1)
    return channels


@lru_cache(maxsize=1 << 12)
def price(cell: Cell, channels_in: int, channels_out: int) -> tuple[int, int]:
    """The number of weights of a cell's convolutions, and of normalised channels. Both include the projections of the
    input, one for each vertex that takes from it."""
    channels = vertex_channels(cell.inputs, channels_in, channels_out)
    weights = normalised = 0
    for vertex in range(1, len(channels)):
        width = channels[vertex]
        if cell.inputs[vertex] & 1:
            weights += channels_in * width
            normalised += width
        operation = cell.operations[vertex - 1] if vertex < len(channels) - 1 else OUTPUT
        if operation in ("conv3x3", "conv1x1"):
            weights += width * width * (9 if operation == "conv3x3" else 1)
            normalised += width
    return weights, normalised


def write_cell(cell: Cell) -> str:
    """The vertices except the input, joined by "-", each with the vertices that it takes from:
    `conv3x3(0)-out(0+1)`."""
    parts = []
    for name, mask in zip((*cell.operations, OUTPUT), cell.inputs[1:], strict=True):
        parts.append(f"{name}({'+'.join(map(str, members(mask)))})")
    return "-".join(parts)


def read_cell(text: str, operations: Iterable[str], *, vertices: int, edges: int, chain: bool) -> Cell:
    """The pruned cell of a string as `write_cell` makes it.

    It has at most `vertices` vertices and `edges` edges, and is a chain of one operation or more if `chain`. ValueError
    names the character, counted from 1, the vertex by its number (the input is 0, the first that is written 1), and
    what was expected there: `character 9 (vertex 1): expected 0; got '1)'`.
    """
    named: list[str] = []
    inputs = [0]
    known = tuple(operations)
    position = 0
    while True:
        vertex = len(inputs)
        names = [*(known if vertex < vertices - 1 else ()), *([OUTPUT] if vertex > 1 or not chain else ())]
        match = _VERTEX.match(text, position)
        assert match is not None  # every part of the pattern may be empty
        if match[1] not in names:
            raise _unexpected(text, position, vertex, one_of(names))
        if not match[2]:
            raise _unexpected(text, match.start(2), vertex, "'('")
        inputs.append(_sources(text, match.start(3), match[3], vertex, chain))
        if Cell((), tuple(inputs)).edges > edges:
            raise _unexpected(text, match.start(3), vertex, f"fewer inputs, because at most {edges} edges are allowed")
        if not match[4]:
            raise _unexpected(text, match.start(4), vertex, "')'")
        position = match.end(4)
        if match[1] == OUTPUT:
            break
        if text[position : position + 1] != "-":
            raise _unexpected(text, position, vertex, f"'-' and another vertex, with {OUTPUT} as the last")
        named.append(match[1])
        position += 1
    if position < len(text):
        raise _unexpected(text, position, vertex, f"the end after {OUTPUT}")
    for unused in range(1, vertex):
        if not any(mask >> unused & 1 for mask in inputs):
            raise _unexpected(text, match.start(3), vertex, f"{unused} among the inputs, because nothing else uses it")
    return Cell(tuple(named), tuple(inputs))


def _sources(text: str, position: int, listed: str, vertex: int, chain: bool) -> int:
    """The vertices that a vertex takes from, read from text such as `0+2`, as a bit mask."""
    mask, lowest = 0, vertex - 1 if chain else 0
    for entry in listed.split("+"):
        legal = [str(source) for source in range(lowest, vertex)]
        if entry not in legal:
            wanted = one_of(legal) if legal else f"')', because inputs ascend and come before {vertex}"
            raise _unexpected(text, position, vertex, wanted)
        mask |= 1 << int(entry)
        lowest = int(entry) + 1
        position += len(entry) + 1
    return mask


def _unexpected(text: str, position: int, vertex: int, expected: str) -> ValueError:
    """The error for an unexpected part at a position (from 0) of a string."""
    found = repr(text[position:].split("-")[0] or "-")[:24] if position < len(text) else "the end"
    return ValueError(f"character {position + 1} (vertex {vertex}): expected {expected}; got {found}")

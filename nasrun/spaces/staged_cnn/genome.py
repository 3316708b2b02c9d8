"""Genomes of `staged_cnn` as networks, and as strings in timm's notation for blocks."""

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from nasrun.core import Genome, Token
from nasrun.spaces.tokens import listed

HEAD = 5
"""Tokens before the stages: activation, kernel, stride and width of the stem, number of stages."""

STAGE = 7
"""Tokens of a stage."""

EXPANDING = ("ir", "er")
"""Blocks with an expansion."""

DEPTHWISE = ("ir", "ds")
"""Blocks with a depthwise convolution."""

LAYERS = {"bb": 2, "ir": 3, "er": 2, "ds": 2, "cn": 1}
"""Number of consecutive convolutions of a block."""

SQUEEZE = 0.25
"""Units of a squeeze-and-excite, as a share of its block's input channels (Tan and Le 2019)."""

MANY = 12
"""Minimum number of legal values from which messages give the rule (all multiples of the first up to the last), not a
list."""

_STEM = re.compile(r"cn_r1_k(\d+)_s(\d+)_c(\d+)")
_STAGE = re.compile(r"(bb|ir|er|ds|cn)_r(\d+)_k(\d+)_s(\d+)(?:_e(\d+))?_c(\d+)(_se0\.25)?")


class Stage(NamedTuple):
    """One stage: `repeats` blocks of one kind; the first has the stride.

    `block`: bb (residual), ir (inverted residual), er (fused inverted residual), ds (depthwise separable) or cn (plain
    convolution). `expansion`: hidden channels of ir and er, in multiples of the input channels; 1 for others.
    `squeeze`: 1 with squeeze-and-excite, which only ir may have, else 0.
    """

    block: str
    repeats: int
    kernel: int
    stride: int
    expansion: int
    width: int
    squeeze: int


class Network(NamedTuple):
    """The contents of a genome."""

    activation: str
    stem_kernel: int
    stem_stride: int
    stem_width: int
    stages: tuple[Stage, ...]


def network_of(genome: Genome) -> Network:
    """The network of a genome of the space."""
    stages = [Stage(*genome[place : place + STAGE]) for place in range(HEAD, len(genome), STAGE)]  # type: ignore[arg-type]
    activation, kernel, stride, width = genome[: HEAD - 1]
    return Network(str(activation), int(kernel), int(stride), int(width), tuple(stages))


def genome_of(network: Network) -> Genome:
    """The genome of a network."""
    stages: tuple[Token, ...] = tuple(token for stage in network.stages for token in stage)
    return (*network[:-1], len(network.stages), *stages)


def squeezed_units(channels: int) -> int:
    """Units of the squeeze-and-excite of a block with a number of input channels."""
    return max(1, int(SQUEEZE * channels))


def text_of(genome: Genome) -> str:
    """`relu-cn_r1_k3_s1_c16-ir_r2_k3_s2_e4_c24_se0.25`: the activation, the stem, then the stages."""
    network = network_of(genome)
    parts = [network.activation, f"cn_r1_k{network.stem_kernel}_s{network.stem_stride}_c{network.stem_width}"]
    for stage in network.stages:
        expansion = f"_e{stage.expansion}" if stage.block in EXPANDING else ""
        parts.append(
            f"{stage.block}_r{stage.repeats}_k{stage.kernel}_s{stage.stride}{expansion}_c{stage.width}"
            + ("_se0.25" if stage.squeeze else "")
        )
    return "-".join(parts)


def parsed(text: str, choices: Callable[[Genome], tuple[Token, ...]], most: int) -> Genome:
    """The genome of a string, whose tokens are checked against `choices`; `most`: maximum number of stages.

    ValueError names the character and the part, both counted from 1, and what was expected there.
    """
    parts = text.split("-")
    starts = [sum(len(part) + 1 for part in parts[:place]) for place in range(len(parts))]
    if not 1 <= len(parts) - 2 <= most:
        place = min(len(parts), 2 + most) if len(parts) > 2 else len(parts)
        at = starts[place] if place < len(parts) else len(text)
        raise _unexpected(text, at, place, f"an activation, a stem and 1 to {most} stages (max_stages), joined by '-'")
    tokens: list[Token] = []
    rows: list[tuple[int, Sequence[Token]]] = [(0, (parts[0],)), (1, _stem(text, starts[1], parts[1]))]
    rows.append((1, (len(parts) - 2,)))
    rows += [(place, _stage(text, starts[place], place, parts[place])) for place in range(2, len(parts))]
    for place, row in rows:
        for token in row:
            legal = choices(tuple(tokens))
            if token not in legal:
                what = f"{name_of(len(tokens))}, {_listed(legal)}"
                raise _unexpected(text, starts[place], place, what)
            tokens.append(token)
    genome = tuple(tokens)
    if text_of(genome) != text:  # such as 016 for 16, or an expansion of a block that has none
        raise _unexpected(text, 0, 0, text_of(genome))
    return genome


def _listed(legal: Sequence[Token]) -> str:
    """The legal values of a token; the rule if there are many numbers."""
    if len(legal) > MANY:
        return f"a multiple of {legal[0]} from {legal[0]} to {legal[-1]}"
    return f"one of {listed(legal)}" if len(legal) > 1 else str(legal[0])


def _stem(text: str, at: int, part: str) -> tuple[int, ...]:
    found = _STEM.fullmatch(part)
    if found is None:
        raise _unexpected(text, at, 1, "the stem, as in cn_r1_k3_s1_c16")
    return tuple(map(_number, found.groups()))


def _stage(text: str, at: int, place: int, part: str) -> tuple[Token, ...]:
    found = _STAGE.fullmatch(part)
    if found is None:
        raise _unexpected(text, at, place, "a stage, as in bb_r1_k3_s2_c32 or ir_r2_k3_s2_e4_c24_se0.25")
    block, repeats, kernel, stride, expansion, width, squeeze = found.groups()
    if (block in EXPANDING) != (expansion is not None):
        raise _unexpected(text, at, place, f"{block} {'with' if block in EXPANDING else 'without'} an expansion (_e4)")
    numbers = (_number(repeats), _number(kernel), _number(stride), _number(expansion or "1"), _number(width))
    return (block, *numbers, int(squeeze is not None))


def _number(digits: str) -> int:
    """The number; for more digits than any option has, a number that no option allows."""
    return int(digits) if len(digits) < 10 else -1


def name_of(position: int, genome: Genome = ()) -> str:
    """The name of the token at a position of a genome."""
    if position < HEAD:
        return ("activation", "kernel of the stem", "stride of the stem", "width of the stem", "number of stages")[
            position
        ]
    stage, place = divmod(position - HEAD, STAGE)
    return f"{Stage._fields[place]} of stage {stage + 1}"


def _unexpected(text: str, position: int, part: int, expected: str) -> ValueError:
    """The error for an unexpected part at a position (from 0) of a genome string."""
    found = repr(text[position:].split("-")[0][:40] or "-") if position < len(text) else "the end"
    return ValueError(f"character {position + 1} (part {part + 1}): expected {expected}; got {found}")

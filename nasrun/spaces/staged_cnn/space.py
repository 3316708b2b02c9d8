"""Stages of blocks: residual, inverted residual, fused, depthwise separable and plain convolutions.

Source: the shape is that of MobileNetV2 (Sandler et al. 2018), MnasNet (Tan et al. 2019) and EfficientNet (Tan and Le
2019), the notation that of the library timm. Only `build` imports torch.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from math import log2
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np

from nasrun.core import Cost, Genome, Morphing, Task, Token
from nasrun.core.options import Between, ConfigError, NotEmpty, Positive, check_section
from nasrun.spaces.descent import GrowingSpace
from nasrun.spaces.staged_cnn.genome import HEAD, LAYERS, STAGE, name_of, network_of, parsed, text_of
from nasrun.spaces.staged_cnn.known import KNOWN
from nasrun.spaces.staged_cnn.limits import STEP, Limits
from nasrun.spaces.staged_cnn.memory import peak_values
from nasrun.spaces.staged_cnn.morphisms import descents
from nasrun.spaces.staged_cnn.price import price, stem_strides
from nasrun.spaces.staged_cnn.prior import Prior
from nasrun.spaces.staged_cnn.supernet import corners, shared_name, shared_weights, smaller
from nasrun.spaces.staged_cnn.variation import Variation
from nasrun.spaces.tokens import check_tokens

if TYPE_CHECKING:
    import torch


MOST_WEIGHTS = 50_000_000
"""Maximum number of weights of the network of all architectures: 400 MB with their momentum, and as much on disk for
each epoch that is kept."""


class StagedCNN(GrowingSpace):
    """A stem, 1 to `max_stages` stages of 1 to `max_repeats` blocks, global average pooling, a dense layer.

    Genome: `(activation, kernel, stride and width of the stem, number of stages, ...)`, then seven tokens per stage:
    block, repeats, kernel, stride, expansion, width, squeeze (`Stage`). String, in timm's notation for blocks, with the
    activation and the stem first: `relu-cn_r1_k3_s1_c16-bb_r1_k3_s2_c32-ir_r2_k3_s2_e4_c64_se0.25`.

    Blocks are `bb` (residual), `ir` (inverted residual, with squeeze-and-excite or without), `er` (fused inverted
    residual), `ds` (depthwise separable) and `cn` (plain); see `nasrun.spaces.staged_cnn.network`. Any image size
    works: images of more than `resolution` by `resolution` pixels are halved in the stem, by one more convolution of
    stride 2 each time, until they are no larger. So the cost of a genome stays within a factor of four for all large
    images. Batch normalisation follows every convolution.

    The order of `activations`, `blocks`, `kernels` and `expansions` is the order of `choices`, and together with the
    seed it determines the draws. ValueError, beginning with the key, if the options leave no valid space.
    """

    flops_limit = 60_000_000
    has_supernet = has_parts = True

    def __init__(
        self,
        *,
        activations: Annotated[list[Literal["relu", "hswish"]], NotEmpty()],
        blocks: Annotated[list[Literal["bb", "ir", "er", "ds", "cn"]], NotEmpty()],
        max_stages: Annotated[int, Between(1, 10)] = 5,
        max_repeats: Annotated[int, Between(1, 10)] = 4,
        kernels: Annotated[list[Literal[1, 3, 5, 7]], NotEmpty()],
        depthwise_kernels: Annotated[list[Literal[3, 5, 7]], NotEmpty()],
        expansions: Annotated[list[Annotated[int, Between(1, 10)]], NotEmpty()],
        squeeze: bool = True,
        max_width: Annotated[int, Between(STEP, 4096)] = 512,
        resolution: Positive = 48,
    ) -> None:
        given: dict[str, Any] = {"activations": activations, "blocks": blocks, "max_stages": max_stages}
        given |= {"max_repeats": max_repeats, "kernels": kernels, "depthwise_kernels": depthwise_kernels}
        given |= {"expansions": expansions, "squeeze": squeeze}
        try:
            check_section(type(self), {**given, "max_width": max_width, "resolution": resolution}, "")
        except ConfigError as error:
            raise ValueError(str(error)) from None
        if max(kernels) == 1:
            raise ValueError("kernels=[1]: the stem and most blocks need a larger one; add 3, 5 or 7")
        if max_width % STEP:
            raise ValueError(f"max_width={max_width}: must be a multiple of {STEP}")
        widths = tuple(range(STEP, max_width + 1, STEP))
        self.resolution = resolution
        self.limits = limits = Limits(
            tuple(activations),
            tuple(blocks),
            max_stages,
            max_repeats,
            tuple(kernels),
            tuple(depthwise_kernels),
            tuple(expansions),
            squeeze,
            widths,
        )
        """The legal values of all tokens."""
        self._octaves = log2(max_width / STEP)
        self._variation = Variation(limits)
        self._prior = Prior(limits)
        self.mutations = self._variation.mutations
        self.size: int = self._count()
        self._kernels = {block: limits.kernels_of(block) for block in limits.blocks}
        self._expansions = {block: limits.expansions_of(block) for block in limits.blocks}
        self._squeezes = {block: limits.squeeze_of(block) for block in limits.blocks}
        self._stem_kernels = limits.kernels_of("bb")

    def _count(self) -> int:
        limits, widths = self.limits, len(self.limits.widths)
        kinds = sum(
            len(limits.kernels_of(block)) * len(limits.expansions_of(block)) * len(limits.squeeze_of(block))
            for block in limits.blocks
        )
        stems = len(limits.activations) * len(limits.kernels_of("bb")) * 2 * widths
        stages = kinds * limits.max_repeats * 2 * widths
        return int(stems * sum(stages**count for count in range(1, limits.max_stages + 1)))

    def sample(self, rng: np.random.Generator) -> Genome:
        """Draw a network, most of the time of a usual shape: see `Prior`. Not uniform."""
        return self._prior.sample(rng)

    def crossover(self, first: Genome, second: Genome, rng: np.random.Generator) -> Genome:
        """The first stages of the first, then the last ones of the second; see `Variation.crossover`."""
        return self._variation.crossover(first, second, rng)

    def neighbours(self, genome: Genome) -> list[Genome]:
        """All results of one mutation of a genome; of a width only the next steps."""
        return self._variation.neighbours(genome)

    def parts(self, genome: Genome) -> int:
        """The number of blocks."""
        return sum(stage.repeats for stage in network_of(genome).stages)

    def choices(self, prefix: Genome) -> tuple[Token, ...]:
        """The legal next tokens after a prefix. Kernels, expansions and squeezes depend on the block."""
        limits, position = self.limits, len(prefix)
        if position < HEAD:
            counts = tuple(range(1, limits.max_stages + 1))
            return (limits.activations, self._stem_kernels, (1, 2), limits.widths, counts)[position]
        if position == HEAD + STAGE * int(prefix[HEAD - 1]):
            return ()
        place = (position - HEAD) % STAGE
        if place == 0:
            return limits.blocks
        block = str(prefix[position - place])
        return (
            tuple(range(1, limits.max_repeats + 1)),
            self._kernels[block],
            (1, 2),
            self._expansions[block],
            limits.widths,
            self._squeezes[block],
        )[place - 1]

    def encode(self, genome: Genome) -> np.ndarray:
        """Vector of 5 + 7 * max_stages entries, one per token. Entry i of n legal values is (i + 1/2) / n; a width is
        its position between the smallest and the largest on a scale of octaves. Missing stages are 0."""
        entries = [0.0] * (HEAD + STAGE * self.limits.max_stages)
        for position, token in enumerate(genome):
            legal = self.choices(genome[:position])
            entries[position] = (
                self._octave(int(token)) if legal is self.limits.widths else (legal.index(token) + 0.5) / len(legal)
            )
        return np.array(entries)

    def _octave(self, width: int) -> float:
        return log2(width / STEP) / self._octaves if self._octaves else 0.5

    def decode(self, vector: np.ndarray) -> Genome:
        """The genome of a vector of 5 + 7 * max_stages entries, read in the order of the tokens; entries outside of [0,
        1] are clipped, those of stages beyond the number are ignored. ValueError: wrong shape, or a NaN."""
        clipped = np.clip(np.asarray(vector, dtype=np.float64), 0.0, 1.0)
        length = HEAD + STAGE * self.limits.max_stages
        if clipped.shape != (length,):
            raise ValueError(f"vector of shape {clipped.shape}: expected ({length},)")
        if np.isnan(clipped).any():
            raise ValueError("vector: holds a NaN")
        genome: Genome = ()
        for entry in clipped.tolist():
            legal = self.choices(genome)
            if not legal:
                break
            if legal is self.limits.widths:
                token: Token = self.limits.width_near(STEP * 2 ** (entry * self._octaves))
            else:
                token = legal[min(int(entry * len(legal)), len(legal) - 1)]
            genome = (*genome, token)
        return genome

    def validate(self, genome: Genome) -> None:
        """Raise ValueError, naming the token and the legal values, unless the genome belongs to this space."""
        check_tokens(self, genome, name_of)

    def format(self, genome: Genome) -> str:
        """In timm's notation for blocks: `relu-cn_r1_k3_s1_c16-bb_r1_k3_s2_c32-ir_r2_k3_s2_e4_c64_se0.25`."""
        return text_of(genome)

    def parse(self, text: str) -> Genome:
        """The genome of a string. ValueError names the character and the part, both counted from 1, and what was
        expected there: `character 26 (part 3): expected width of stage 1, one of 4, 8, ...; got 'bb_r1_k3_s2_c33'`."""
        return parsed(text, self.choices, self.limits.max_stages)

    def known(self) -> Mapping[str, Genome]:
        """The networks of `KNOWN` that the options of the space allow."""
        found = {}
        for name, text in KNOWN.items():
            with suppress(ValueError):
                found[name] = self.parse(text)
        return found

    def layers(self, genome: Genome) -> int:
        """The number of consecutive convolutions, and the dense layer."""
        network = network_of(genome)
        return 2 + sum(stage.repeats * LAYERS[stage.block] for stage in network.stages)

    def width_positions(self, genome: Genome) -> tuple[int, ...]:
        """The positions of the widths of the stem and of each stage."""
        return (HEAD - 2, *range(HEAD + 5, len(genome), STAGE))

    def cost(self, genome: Genome, task: Task) -> Cost:
        """Trainable parameters, and FLOPs of one input; see `price`."""
        return price(genome, task, self.resolution)

    def peak_values(self, genome: Genome, task: Task) -> int:
        """Values of one input in memory at a time; see `nasrun.spaces.staged_cnn.memory`."""
        return peak_values(genome, task, self.resolution)

    def build(self, genome: Genome, task: Task) -> "torch.nn.Module":
        """The network: input float (batch, channels, height, width), output (batch, task.outputs), the logits. Initial
        weights come from torch's global generator; see `staged_network`."""
        from nasrun.spaces.staged_cnn.network import staged_network  # imports torch, so only where needed

        network = network_of(genome)
        strides = stem_strides(task, self.resolution, network.stem_stride)
        return staged_network(network, task.channels, task.outputs, stem_strides=strides)

    def supernet(self, task: Task) -> "torch.nn.Module":
        from nasrun.spaces.elastic import ElasticNetwork

        return ElasticNetwork(corners(self.limits), lambda genome: self.build(genome, task), shared_name)

    def supernet_name(self, genome: Genome, task: Task) -> Callable[[str], str]:
        return shared_name(genome)

    def check_supernet(self, task: Task) -> None:
        """ValueError, beginning with the key, if the network of all architectures has more weights than `MOST_WEIGHTS`;
        it names a width that is small enough."""
        widths = self.limits.widths
        sizes = {width: shared_weights(self.limits, task, self.resolution, width) for width in widths}
        if sizes[widths[-1]] <= MOST_WEIGHTS:
            return
        fitting = [width for width in widths if sizes[width] <= MOST_WEIGHTS]
        least = f"search_space.max_width={fitting[-1]} or less" if fitting else "fewer blocks, kernels or expansions"
        raise ValueError(
            f"search_space.max_width={widths[-1]}: the network of all architectures would have "
            f"{sizes[widths[-1]]:,} weights, more than {MOST_WEIGHTS:,}; use {least}"
        )

    def smaller(self, genome: Genome, rng: np.random.Generator | None = None) -> Genome:
        return smaller(self.limits, genome, rng)

    def descents(self, parent: Genome, child: Genome) -> list[int | None] | None:
        return descents(parent, child)

    def transfer(
        self,
        parent: Genome,
        child: Genome,
        origins: Sequence[int | None],
        weights: "Mapping[str, torch.Tensor]",
        network: "torch.nn.Module",
    ) -> Morphing:
        from nasrun.spaces.staged_cnn.transfer import transfer

        return transfer(parent, child, origins, weights, network)

"""Randomly wired networks: each stage is a graph, drawn with a seed from a classical random graph model.

Source: Xie, Kirillov, Girshick and He, "Exploring Randomly Wired Neural Networks for Image Recognition", ICCV 2019
(arXiv 1904.01569), section 3. Only `build` imports torch.
"""

from collections.abc import Hashable
from math import isnan
from typing import TYPE_CHECKING, Annotated

import numpy as np

from nasrun.core import Cost, Genome, SearchSpace, Task, Token
from nasrun.core.options import AtLeast, Between, NotEmpty, Positive
from nasrun.spaces.randomly_wired.graphs import Wiring, check_wiring, wiring
from nasrun.spaces.tokens import check_tokens, listed, pick, value_at

if TYPE_CHECKING:
    import torch


class RandomlyWired(SearchSpace):
    """Networks of `stages` random graphs of `nodes` nodes each, in sequence.

    Genome: for each stage a wiring and a seed; wirings are `er-P` (Erdos-Renyi), `ba-M` (Barabasi-Albert) and `ws-K-P`
    (Watts-Strogatz); seeds are from 0 to `seeds` - 1. String: `ws-4-0.75:17/er-0.2:3`, stages joined by "/". Drawn
    uniformly.

    The computation of a node, and the direction of edges: see `nasrun.spaces.randomly_wired.network` and `graphs`.
    `channels`: of the stem and the first stage. ValueError, beginning with the key, if a wiring is invalid.
    """

    def __init__(
        self,
        *,
        wirings: Annotated[list[str], NotEmpty()],
        nodes: Annotated[int, Between(3, 256)] = 16,
        stages: Annotated[int, Between(1, 6)] = 3,
        channels: Positive = 16,
        seeds: Annotated[int, AtLeast(2)] = 64,
    ) -> None:
        for name in wirings:
            try:
                check_wiring(name, nodes)
            except ValueError as error:
                raise ValueError(f"wirings={name}: {error}") from None
        self._wirings, self._seeds = tuple(wirings), tuple(range(seeds))
        self._nodes, self._stages, self._channels = nodes, stages, channels
        self.mutations = {"seed": self.change_seed}
        if len(wirings) > 1:
            self.mutations = {"wiring": self.change_wiring, "seed": self.change_seed}
        self.size: int = (len(wirings) * seeds) ** stages

    def sample(self, rng: np.random.Generator) -> Genome:
        """Draw uniformly."""
        return tuple([pick(self._tokens(position), rng) for position in range(2 * self._stages)])

    def change_wiring(self, genome: Genome, rng: np.random.Generator) -> Genome:
        """Change the model or parameter of one stage, and keep its seed."""
        return self._changed(genome, 2 * int(rng.random() * self._stages), rng)

    def change_seed(self, genome: Genome, rng: np.random.Generator) -> Genome:
        """Change the seed of one stage, for another graph of the same model."""
        return self._changed(genome, 2 * int(rng.random() * self._stages) + 1, rng)

    def _changed(self, genome: Genome, position: int, rng: np.random.Generator) -> Genome:
        others = [token for token in self._tokens(position) if token != genome[position]]
        return (*genome[:position], pick(others, rng), *genome[position + 1 :])

    def crossover(self, first: Genome, second: Genome, rng: np.random.Generator) -> Genome:
        """Each stage from either parent; with several stages each parent gives at least one."""
        ways = 2**self._stages
        mask = 1 + int(rng.random() * (ways - 2)) if self._stages > 1 else int(rng.random() * ways)
        child: Genome = ()
        for stage in range(self._stages):
            child += (second if mask >> stage & 1 else first)[2 * stage : 2 * stage + 2]
        return child

    def choices(self, prefix: Genome) -> tuple[Token, ...]:
        """The wirings, then the seeds, stage by stage."""
        return self._tokens(len(prefix)) if len(prefix) < 2 * self._stages else ()

    def _tokens(self, position: int) -> tuple[Token, ...]:
        return self._seeds if position % 2 else self._wirings

    def encode(self, genome: Genome) -> np.ndarray:
        """One entry per token: its index among the n choices as (index + 1/2) / n."""
        places = ((self._tokens(at), token) for at, token in enumerate(genome))
        return np.array([(tokens.index(token) + 0.5) / len(tokens) for tokens, token in places])

    def decode(self, vector: np.ndarray) -> Genome:
        """The genome of a vector with an entry per token: each falls into one of equal shares of [0, 1]; entries
        outside are clipped. ValueError: wrong shape, or a NaN."""
        vector = np.asarray(vector, dtype=np.float64)
        if vector.shape != (2 * self._stages,):
            raise ValueError(f"vector of shape {vector.shape}: expected ({2 * self._stages},)")
        entries: list[float] = vector.clip(0.0, 1.0).tolist()
        if any(map(isnan, entries)):
            raise ValueError("vector: holds a NaN")
        return tuple([value_at(self._tokens(position), entry) for position, entry in enumerate(entries)])

    def key(self, genome: Genome) -> Hashable:
        """The graphs of the stages: two seeds may give the same graph."""
        return tuple(self._graphs(genome))

    def validate(self, genome: Genome) -> None:
        """Raise ValueError, naming the token and the legal values, unless the genome belongs to this space."""
        check_tokens(self, genome, _name)

    def format(self, genome: Genome) -> str:
        """`ws-4-0.75:17/er-0.2:3/ba-5:40`: wiring and seed of each stage."""
        return "/".join(f"{genome[at]}:{genome[at + 1]}" for at in range(0, len(genome), 2))

    def parse(self, text: str) -> Genome:
        """The genome of a string. ValueError names the stage, and what was expected there."""
        stages = text.split("/")
        if len(stages) != self._stages:
            raise ValueError(f"{len(stages)} stages: expected {self._stages}, joined by '/'")
        genome: list[Token] = []
        for number, stage in enumerate(stages, start=1):
            name, colon, seed = stage.partition(":")
            if name not in self._wirings:
                raise ValueError(f"stage {number}: expected one of {listed(self._wirings)}; got {name[:40]!r}")
            if not colon or seed not in map(str, self._seeds):
                raise ValueError(f"stage {number}: expected ':' and a seed up to {self._seeds[-1]}; got {seed[:40]!r}")
            genome += [name, int(seed)]
        return tuple(genome)

    def _graphs(self, genome: Genome) -> list[Wiring]:
        stages = range(0, len(genome), 2)
        return [wiring(str(genome[at]), self._nodes, int(genome[at + 1])) for at in stages]

    def layers(self, genome: Genome) -> int:
        """The number of nodes on the longest path, summed over the graphs."""
        return sum(_depth(graph) for graph in self._graphs(genome))

    def cost(self, genome: Genome, task: Task) -> Cost:
        """Trainable parameters, and FLOPs of one input: two per multiply-add of the convolutions and the dense layer.
        FLOPs leave out weighted sums and normalisation, as does `torch.utils.flop_counter`."""
        height, width, before = task.height, task.width, self._channels
        parameters = 9 * task.channels * before + 2 * before
        multiply_adds = 9 * task.channels * before * height * width
        for stage, graph in enumerate(self._graphs(genome)):
            after = self._channels << stage
            if stage:
                height, width = (height + 1) // 2, (width + 1) // 2
            for sources in graph.sources:
                channels = after if sources else before
                weights = 9 * channels + channels * after
                parameters += weights + 2 * after + (len(sources) if len(sources) > 1 else 0)
                multiply_adds += weights * height * width
            before = after
        dense = before * task.outputs
        return Cost(parameters + dense + task.outputs, 2 * (multiply_adds + dense))

    def build(self, genome: Genome, task: Task) -> "torch.nn.Module":
        """The network: input float (batch, channels, height, width), output (batch, task.outputs): logits, or the
        values of a regression. Initial weights come from torch's global generator; see `network`."""
        from nasrun.spaces.randomly_wired.network import network  # imports torch, so only where needed

        return network(self._graphs(genome), self._channels, task)


def _depth(graph: Wiring) -> int:
    depths: list[int] = []
    for sources in graph.sources:
        depths.append(1 + max((depths[source] for source in sources), default=0))
    return max(depths)


def _name(position: int, genome: Genome) -> str:
    return f"stage {position // 2 + 1}, {'seed' if position % 2 else 'wiring'}"

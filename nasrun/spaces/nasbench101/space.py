"""The cells of NAS-Bench-101: up to 7 vertices, 9 edges, 3 operations; or only its plain chains.

Source: Ying et al., "NAS-Bench-101: Towards Reproducible Neural Architecture Search", ICML 2019 (arXiv 1902.09635),
section 2. Only `build` imports torch.
"""

from math import comb
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np

from nasrun.core import Cost, Genome, SearchSpace, Task, Token
from nasrun.core.options import AtLeast, Between, Fraction, NotEmpty, Positive
from nasrun.spaces.nasbench101 import graph as cell_graph
from nasrun.spaces.nasbench101.cells import Cells
from nasrun.spaces.nasbench101.chains import Chains
from nasrun.spaces.tokens import check_tokens

if TYPE_CHECKING:
    import torch

Operations = Annotated[list[Literal["conv3x3", "conv1x1", "maxpool3x3"]], NotEmpty()]


class NASBench101(SearchSpace):
    """Cells of up to `vertices` vertices (input and output included) and `edges` edges, always pruned; or chains.

    Genome: the number of vertices V, the operations of the vertices 1 to V - 2, and (unless `chain`) the bits of the
    upper triangle of the adjacency matrix, column by column; see `Cells` and `Chains`. Several genomes may be the same
    cell with its vertices numbered differently: they have the same `key`, the benchmark's own hash. `size` counts
    genomes. String: for each vertex its operation and the vertices that it takes from, with the input as 0:
    `conv3x3(0)-maxpool3x3(0+1)-out(1+2)`.

    The network (`build`) has `stacks` times `cells` copies of the cell, with as many channels as the stem
    (`stem_channels`) in the first stack and twice as many in each further one. `norm_momentum`: of its batch
    normalisation; the benchmark keeps 0.997 of the old statistics (0.003 here), which suits its training runs of many
    thousand steps, but after a few hundred leaves the statistics near their initial values.

    The order of `operations` is the order of `choices` and `encode`, and together with the seed it determines the
    draws. ValueError, beginning with the key, if the options leave no valid space.
    """

    def __init__(
        self,
        *,
        vertices: Annotated[int, Between(2, 7)] = 7,
        edges: Annotated[int, Between(1, 21)] = 9,
        operations: Operations,
        chain: bool = False,
        stem_channels: Annotated[int, AtLeast(1)] = 128,
        stacks: Positive = 3,
        cells: Positive = 3,
        norm_momentum: Fraction = 0.1,
    ) -> None:
        if chain and vertices < 3:
            raise ValueError(f"vertices={vertices}: no room for an operation in a chain; must be >= 3")
        if edges < vertices - 1:
            raise ValueError(f"edges={edges}: too few to connect {vertices} vertices; must be >= {vertices - 1}")
        if stem_channels < vertices - 2:
            reason = f"up to {vertices - 2} vertices share the channels of a cell's output"
            raise ValueError(f"stem_channels={stem_channels}: {reason}; must be >= {vertices - 2}")
        self._vertices, self._edges, self._operations, self._chain = vertices, edges, tuple(operations), chain
        self._stem, self._stacks, self._cells = stem_channels, stacks, cells
        self._momentum = norm_momentum
        self.genomes = Chains(vertices, operations) if chain else Cells(vertices, edges, operations)
        self.mutations = self.genomes.mutations
        self.size: int = self.genomes.size

    def sample(self, rng: np.random.Generator) -> Genome:
        """Draw a genome: cells like the benchmark's own example, uniform over wirings before pruning; chains uniformly
        over all chains. See `Cells.sample` and `Chains.sample`."""
        return self.genomes.sample(rng)

    def crossover(self, first: Genome, second: Genome, rng: np.random.Generator) -> Genome:
        """Each operation and each edge from either parent; see `Cells.crossover` and `Chains.crossover`."""
        return self.genomes.crossover(first, second, rng)

    def choices(self, prefix: Genome) -> tuple[Token, ...]:
        """The legal next tokens after a prefix of this space; see `Cells.choices` and `Chains.choices`."""
        return self.genomes.choices(prefix)

    def neighbours(self, genome: Genome) -> list[Genome]:
        """The genomes one change of an operation, edge or vertex away; see `Cells.neighbours`, `Chains.neighbours`."""
        return self.genomes.neighbours(genome)

    def encode(self, genome: Genome) -> np.ndarray:
        """Vector of the operations and edges (26 entries with 7 vertices; see `Cells.encode`), or of the length and
        the operations (6 entries; see `Chains.encode`)."""
        return self.genomes.encode(genome)

    def decode(self, vector: np.ndarray) -> Genome:
        """The genome of a vector, repaired if invalid (see `Cells.decode`, `Chains.decode`); entries outside of [0, 1]
        are clipped. ValueError: wrong shape, or a NaN."""
        clipped = np.clip(np.asarray(vector, dtype=np.float64), 0.0, 1.0)
        if clipped.shape != (self.genomes.width,):
            raise ValueError(f"vector of shape {clipped.shape}: expected ({self.genomes.width},)")
        if np.isnan(clipped).any():
            raise ValueError("vector: holds a NaN")
        return self.genomes.decode(clipped.tolist())

    def key(self, genome: Genome) -> str:
        """NAS-Bench-101's hash, 32 hex digits: the same for isomorphic cells, and the key of its tables."""
        return cell_graph.fingerprint(self.genomes.cell(genome))

    def validate(self, genome: Genome) -> None:
        """Raise ValueError, naming the token and the legal values, unless the genome belongs to this space."""
        check_tokens(self, genome, _name)

    def format(self, genome: Genome) -> str:
        """The vertices except the input, joined by "-": `conv3x3(0)-maxpool3x3(0+1)-out(1+2)`."""
        return cell_graph.write_cell(self.genomes.cell(genome))

    def parse(self, text: str) -> Genome:
        """The genome of a string. ValueError names the character and the vertex, and what was expected there:
        `character 9 (vertex 1): expected 0; got '1)'`. A cell that is not pruned is refused."""
        cell = cell_graph.read_cell(
            text, self._operations, vertices=self._vertices, edges=self._edges, chain=self._chain
        )
        return self.genomes.genome(cell)

    def cost(self, genome: Genome, task: Task) -> Cost:
        """Trainable parameters, and FLOPs of one input: two per multiply-add of the convolutions and the dense layer.
        FLOPs leave out normalisation, activations, sums and pooling, as does `torch.utils.flop_counter`."""
        cell = self.genomes.cell(genome)
        height, width, channels = task.height, task.width, self._stem
        weights = 9 * task.channels * channels
        multiply_adds = weights * height * width
        normalised = channels
        for stack in range(self._stacks):
            if stack:
                height, width = (height + 1) // 2, (width + 1) // 2
            for _ in range(self._cells):
                target = self._stem << stack
                cell_weights, cell_normalised = cell_graph.price(cell, channels, target)
                weights += cell_weights
                normalised += cell_normalised
                multiply_adds += cell_weights * height * width
                channels = target
        # A normalised channel has a weight and a bias.
        parameters = weights + 2 * normalised + (channels + 1) * task.outputs
        return Cost(parameters, 2 * (multiply_adds + channels * task.outputs))

    def build(self, genome: Genome, task: Task) -> "torch.nn.Module":
        """The network: input float (batch, channels, height, width), output (batch, task.outputs): logits, or the
        values of a regression. Initial weights come from torch's global generator; see `nasbench101_network`."""
        from nasrun.spaces.nasbench101.network import network  # imports torch, so only where needed

        return network(
            self.genomes.cell(genome),
            task.channels,
            task.outputs,
            stem=self._stem,
            stacks=self._stacks,
            cells=self._cells,
            momentum=self._momentum,
        )


def _name(position: int, genome: Genome) -> str:
    """The name of the token at a position of a genome."""
    if not position:
        return "vertices"
    before = position - int(genome[0]) + 1
    if before < 0:
        return f"operation of vertex {position}"
    vertex = next((vertex for vertex in range(1, int(genome[0])) if before < comb(vertex + 1, 2)), None)
    return f"edge {before - comb(vertex, 2)}-{vertex}" if vertex else ""

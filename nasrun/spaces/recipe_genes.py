"""Architectures together with training settings: genes for both, in one space."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np

from nasrun.core import Cost, Genome, Morphing, Mutation, SearchSpace, Task, Token
from nasrun.core.options import Above, ConfigError, NotEmpty, check_section, first_line, join, show
from nasrun.core.types import CellGraph
from nasrun.core.wrapped_space import WrappedSpace

if TYPE_CHECKING:
    import torch

KEY = "recipe"
"""The key in a space's section, beside the options of its class."""

Gene = Literal["lr", "weight_decay", "augmentation", "label_smoothing"]
SHORT: dict[str, str] = {"lr": "lr", "weight_decay": "wd", "augmentation": "aug", "label_smoothing": "ls"}
"""The short name of a gene in the string of a genome."""

FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)
END = "@"


@dataclass(kw_only=True, frozen=True)
class RecipeOptions:
    """Training settings that are genes beside the architecture: names, or names with the factors of each; None: none.

    Every gene is a factor that multiplies the run's own setting. Only settings are offered that do not change the work
    of an epoch, so that networks stay comparable, and can be planned for, whatever their genes.
    """

    recipe: (
        Annotated[list[Gene], NotEmpty()] | dict[Gene, Annotated[list[Annotated[float, Above(0)]], NotEmpty()]] | None
    ) = None

    def __post_init__(self) -> None:
        if self.recipe is not None and not self.recipe:
            raise ValueError("recipe={}: must not be empty; use null to search only networks")
        for name, factors in self.factors.items():
            if 1.0 not in factors:
                raise ValueError(f"recipe.{name}={show(factors)}: must include 1, the unchanged recipe")

    @property
    def factors(self) -> dict[str, tuple[float, ...]]:
        """The genes with their factors, ascending."""
        if isinstance(self.recipe, dict):
            return {name: tuple(sorted(values)) for name, values in self.recipe.items()}
        return dict.fromkeys(self.recipe or (), FACTORS)


def take_options(section: dict[str, Any], path: str) -> RecipeOptions:
    """The genes that a space's section asks for, removed from it; ConfigError if they are invalid."""
    own = {KEY: section.pop(KEY)} if KEY in section else {}
    try:
        return RecipeOptions(**check_section(RecipeOptions, own, path))
    except ValueError as error:
        raise ConfigError(join(path, first_line(error))) from error


def with_genes(space: SearchSpace, options: RecipeOptions) -> SearchSpace:
    """The space with genes for training settings; the same space if there are none. ValueError: its genomes are one
    network."""
    if options.recipe is None:
        return space
    if space.start is not None:
        kind = type(space).__name__
        raise ValueError(f"{KEY}={show(options.recipe)}: the genomes of {kind} are training settings already; use null")
    return RecipeGenes(space, options)


class RecipeGenes(WrappedSpace):
    """The networks of a space, each with factors for its training settings.

    Genome: a factor for each gene, as text (`"0.5"`), then the genome of the inner space. String:
    `lr0.5_wd2@hswish-cn_r1_...`; without the part before the `@` all factors are 1. Factors are drawn and mixed
    uniformly and independently; a mutation takes the next smaller or larger one. Known networks have factors of 1. The
    work of an epoch depends on the network only, so costs and limits are those of the inner space.
    """

    def __init__(self, inner: SearchSpace, options: RecipeOptions) -> None:
        super().__init__(inner)
        self.free_widths = None  # the factors are tokens too
        self._genes = {name: tuple(f"{value:g}" for value in values) for name, values in options.factors.items()}
        self._plain: Genome = ("1",) * len(self._genes)
        self.scaled_settings = tuple(self._genes)
        combinations = int(np.prod([len(values) for values in self._genes.values()], dtype=np.int64))
        self.size = None if inner.size is None else inner.size * combinations
        self.section = None if inner.section is None else {**inner.section, KEY: options.recipe}
        self.mutations = self._mutations()

    def _mutations(self) -> dict[str, Mutation]:
        """The mutations of the inner space, and one for each gene that can be changed."""
        inner = self.inner.mutations
        made: dict[str, Mutation] = {name: partial(self._within, mutate) for name, mutate in inner.items()}
        for place, (name, values) in enumerate(self._genes.items()):
            if len(values) > 1:
                made[name] = partial(self._step, place)
        return made

    def _within(self, mutate: Mutation, genome: Genome, rng: np.random.Generator) -> Genome:
        factors, network = self._parts(genome)
        return (*factors, *mutate(network, rng))

    def _step(self, place: int, genome: Genome, rng: np.random.Generator) -> Genome:
        """Change the factor at a position to the next smaller or larger one."""
        near = self._near(place, genome)
        return (*genome[:place], near[int(rng.integers(len(near)))], *genome[place + 1 :])

    def _near(self, place: int, genome: Genome) -> list[Token]:
        values = self._values(place)
        at = values.index(genome[place])
        return [values[step] for step in (at - 1, at + 1) if 0 <= step < len(values)]

    def _values(self, place: int) -> tuple[Token, ...]:
        return list(self._genes.values())[place]

    def _parts(self, genome: Genome) -> tuple[Genome, Genome]:
        """The factors, and the genome of the inner space."""
        return genome[: len(self._genes)], genome[len(self._genes) :]

    def network_of(self, genome: Genome) -> Genome:
        """The genome of the inner space."""
        return self._parts(genome)[1]

    def setting_factors(self, genome: Genome) -> Mapping[str, float]:
        return {name: float(token) for name, token in zip(self._genes, genome, strict=False)}

    def parts(self, genome: Genome) -> int | None:
        return self.inner.parts(self.network_of(genome))

    def simplest(self, rng: np.random.Generator) -> Genome:
        """One of the simplest networks, with factors drawn as `sample` does."""
        factors, _ = self._parts(self.sample(rng))
        return (*factors, *self.inner.simplest(rng))

    def grown(self, genome: Genome) -> list[Genome]:
        """The architectures that the network grows into, with the same factors."""
        factors, network = self._parts(genome)
        return [(*factors, *other) for other in self.inner.grown(network)]

    def hparams(self, genome: Genome) -> Mapping[str, Any]:
        return self.inner.hparams(self.network_of(genome))

    def sample(self, rng: np.random.Generator) -> Genome:
        """Draw every factor uniformly and independently; the network as the inner space draws it."""
        factors = [values[int(rng.integers(len(values)))] for values in self._genes.values()]
        return (*factors, *self.inner.sample(rng))

    def crossover(self, first: Genome, second: Genome, rng: np.random.Generator) -> Genome:
        """Every factor from either parent, with equal probability; the inner space mixes the networks."""
        (one, network), (two, other) = self._parts(first), self._parts(second)
        chosen = (rng.random(len(self._genes)) < 0.5).tolist()
        factors = [a if left else b for left, a, b in zip(chosen, one, two, strict=True)]
        return (*factors, *self.inner.crossover(network, other, rng))

    def neighbours(self, genome: Genome) -> list[Genome]:
        """The next factors of each gene, and the neighbours of the network."""
        factors, network = self._parts(genome)
        stepped = [
            (*genome[:place], token, *genome[place + 1 :])
            for place in range(len(factors))
            for token in self._near(place, genome)
        ]
        return [*stepped, *((*factors, *other) for other in self.inner.neighbours(network))]

    def choices(self, prefix: Genome) -> tuple[Token, ...]:
        if len(prefix) < len(self._genes):
            return self._values(len(prefix))
        return self.inner.choices(self.network_of(prefix))

    def referred(self, prefix: Genome, token: Token) -> int | None:
        if len(prefix) < len(self._genes):
            return None
        place = self.inner.referred(self.network_of(prefix), token)
        return None if place is None else place + len(self._genes)

    def encode(self, genome: Genome) -> np.ndarray:
        """One entry for each factor, the middle of its share of [0, 1]; then the vector of the network."""
        factors, network = self._parts(genome)
        pairs = zip(self._genes.values(), factors, strict=True)
        places = [(values.index(str(token)) + 0.5) / len(values) for values, token in pairs]
        return np.concatenate([np.array(places), self.inner.encode(network)])

    def decode(self, vector: np.ndarray) -> Genome:
        """The genome of a vector; entries outside of [0, 1] are clipped. ValueError: wrong shape, or a NaN."""
        entries = np.asarray(vector, dtype=np.float64)
        count = len(self._genes)
        if entries.ndim != 1 or len(entries) < count:
            raise ValueError(f"vector of shape {entries.shape}: expected one of at least {count} entries")
        if np.isnan(entries[:count]).any():
            raise ValueError("vector: holds a NaN")
        places = np.clip(entries[:count], 0.0, 1.0).tolist()
        factors = [
            values[min(int(place * len(values)), len(values) - 1)]
            for values, place in zip(self._genes.values(), places, strict=True)
        ]
        return (*factors, *self.inner.decode(entries[count:]))

    def width_positions(self, genome: Genome) -> tuple[int, ...]:
        return tuple(place + len(self._genes) for place in self.inner.width_positions(self.network_of(genome)))

    def known(self) -> Mapping[str, Genome]:
        return {name: (*self._plain, *genome) for name, genome in self.inner.known().items()}

    def fit(self, genome: Genome) -> Genome:
        factors, network = self._parts(genome)
        return (*factors, *self.inner.fit(network))

    def sizes(self, genome: Genome) -> Sequence[Genome]:
        factors, network = self._parts(genome)
        return [(*factors, *size) for size in self.inner.sizes(network)]

    def validate(self, genome: Genome) -> None:
        if not isinstance(genome, tuple):
            raise ValueError(f"genome of type {type(genome).__name__}: expected a tuple")
        for place, (name, values) in enumerate(self._genes.items()):
            token = genome[place] if place < len(genome) else None
            if not isinstance(token, str) or token not in values:
                found = repr(token) if place < len(genome) else "the end"
                raise ValueError(f"token {place} ({name}): expected one of {', '.join(values)}; got {found}")
        self.inner.validate(self.network_of(genome))

    def format(self, genome: Genome) -> str:
        factors, network = self._parts(genome)
        named = "_".join(f"{SHORT[name]}{token}" for name, token in zip(self._genes, factors, strict=True))
        return f"{named}{END}{self.inner.format(network)}"

    def parse(self, text: str) -> Genome:
        """The genome of a string. ValueError names what was expected; positions in the network count from after the
        `@`."""
        before, separator, network = text.partition(END)
        if not separator:
            return (*self._plain, *self.inner.parse(text))
        parts = before.split("_")
        form = "_".join(f"{SHORT[name]}1" for name in self._genes)
        if len(parts) != len(self._genes):
            raise ValueError(f"{before[:24]!r}: expected factors such as {form} before the {END}")
        factors = []
        for part, (name, values) in zip(parts, self._genes.items(), strict=True):
            token = part.removeprefix(SHORT[name])
            if part != f"{SHORT[name]}{token}" or token not in values:
                raise ValueError(f"{part[:24]!r}: expected {SHORT[name]} and one of {', '.join(values)}")
            factors.append(token)
        return (*factors, *self.inner.parse(network))

    # Methods that concern only the network are those of the inner space.

    def layers(self, genome: Genome) -> int:
        return self.inner.layers(self.network_of(genome))

    def usage(self, genome: Genome) -> float:
        return self.inner.usage(self.network_of(genome))

    def key(self, genome: Genome) -> Hashable:
        factors, network = self._parts(genome)
        return factors, self.inner.key(network)

    def cost(self, genome: Genome, task: Task) -> Cost:
        return self.inner.cost(self.network_of(genome), task)

    def peak_values(self, genome: Genome, task: Task) -> int | None:
        return self.inner.peak_values(self.network_of(genome), task)

    def build(self, genome: Genome, task: Task) -> "torch.nn.Module":
        return self.inner.build(self.network_of(genome), task)

    def can_morph(self, parent: Genome, child: Genome) -> bool:
        return self.inner.can_morph(self.network_of(parent), self.network_of(child))

    def morph(
        self, parent: Genome, child: Genome, weights: "Mapping[str, torch.Tensor]", network: "torch.nn.Module"
    ) -> Morphing:
        return self.inner.morph(self.network_of(parent), self.network_of(child), weights, network)

    def outline(self, genome: Genome, task: Task) -> "torch.nn.Module":
        return self.inner.outline(self.network_of(genome), task)

    def cell_graphs(self, genome: Genome) -> Mapping[str, CellGraph]:
        return self.inner.cell_graphs(self.network_of(genome))

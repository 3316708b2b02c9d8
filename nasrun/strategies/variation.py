"""What evolutionary strategies share: mutating by name, and picking the fittest of a sample."""

from collections.abc import Sequence

import numpy as np

from nasrun.protocols import Genome, SearchSpace
from nasrun.schema import nearest


class Mutator:
    """Applies one of a list of named mutations of a space, each as likely as the others."""

    def __init__(self, space: SearchSpace, names: Sequence[str] | None) -> None:
        """`names`: the mutations enabled; None enables all of the space. ValueError names one that is unknown."""
        for name in names or ():
            if name not in space.mutations:
                raise ValueError(f"mutations={name}: no such mutation of this space; {nearest(name, space.mutations)}")
        self._mutations = [(name, space.mutations[name]) for name in (space.mutations if names is None else names)]

    def __call__(self, genome: Genome, rng: np.random.Generator) -> tuple[Genome, str]:
        """A mutated genome and the name of the mutation.

        A mutation that cannot change this genome gives way to the next one of the list; where none can, the genome
        itself comes back.
        """
        first = int(rng.integers(len(self._mutations)))
        for offset in range(len(self._mutations)):
            name, mutate = self._mutations[(first + offset) % len(self._mutations)]
            child = mutate(genome, rng)
            if child != genome:
                return child, name
        return genome, self._mutations[first][0]

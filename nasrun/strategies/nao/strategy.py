"""Neural architecture optimization: gradient steps in a learned continuous space (NAO)."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from nasrun.core import Genome, Objective, Origin, Proposal, SearchSpace, Token
from nasrun.core.options import Above, AtLeast, Positive
from nasrun.strategies.controllers.vocabulary import UNKNOWN, TokenVocabulary
from nasrun.strategies.nao.settings import NetworkSettings
from nasrun.strategies.predictor.batches import ModelSearch
from nasrun.strategies.predictor.reading import shares_below
from nasrun.strategies.start import Start, StartingGenomes

if TYPE_CHECKING:
    from nasrun.strategies.nao.network import ArchitectureModel


@dataclass(kw_only=True, frozen=True)
class Climbing:
    """How new architectures are made: `batch` of them from the `parents` best, each moved by `step`; while too few are
    new, the step doubles, up to `longest` step lengths."""

    batch: Positive = 10
    parents: Positive = 25
    step: Annotated[float, Above(0)] = 0.1
    longest: Positive = 8


class NAO(ModelSearch):
    """Moves architectures uphill in the latent space of an encoder and a decoder, and measures the decoded ones.

    Source: Luo, Tian, Qin, Chen and Liu, "Neural Architecture Optimization", NeurIPS 2018 (arXiv 1808.07233), algorithm
    1. The search begins with `initial` random architectures (with `start`, known ones first). Then, for every `batch`
    proposals, encoder, predictor and decoder are trained together from new weights on all results; the codes of the
    `parents` best are moved a step along the predictor's gradient, and the decoded architectures are proposed, best
    prediction first.

    Differences from the paper: any space can be used, whose tokens are read by name and position, and only legal ones
    are written; the predictor learns the share of architectures that are worse, which is the same for any metric; the
    gradient is scaled to length 1, and steps double while too few are new, where the paper's grow evenly; symmetric
    cells are not added to the training data. If too few are new, random architectures fill the batch.
    """

    draws_from_space = False

    def __init__(
        self,
        space: SearchSpace,
        objective: Objective,
        rng: np.random.Generator,
        *,
        initial: Annotated[int, AtLeast(2)] = 20,
        start: Start = "none",
        climbing: Climbing = Climbing(),
        networks: NetworkSettings = NetworkSettings(),
    ) -> None:
        self._slots = SlotCoder(space)
        super().__init__(space, objective, rng, StartingGenomes(space, start, initial), initial, self._slots.of)
        self.begins_known = self._first.known
        self._climbing, self._networks = climbing, networks
        self._losses: list[float] = []

    def notes(self) -> dict[str, Any]:
        """`losses`: of the networks at the end of each training run."""
        return {"losses": self._losses}

    def _batch(self) -> list[Proposal]:
        """A batch of architectures decoded uphill of the best ones, best prediction first; filled up with random
        architectures."""
        from nasrun.strategies.nao.network import ArchitectureModel  # imports torch

        targets = shares_below([known.score for known in self._known])
        seed = int(self._rng.integers(2**62))
        slots = [known.entries for known in self._known]
        model = ArchitectureModel(slots, targets, self._slots.count, self._networks, seed)
        self._losses.append(model.loss)
        found, batch = self._climbed(model), self._climbing.batch
        if found:
            predicted = model.predictions([self._slots.of(proposal.genome) for proposal in found])
            found = [found[place] for place in np.argsort(-predicted, kind="stable")[:batch]]
        drawn = [Proposal(self._space.sample(self._rng), origin=Origin.SAMPLE) for _ in range(batch - len(found))]
        return found + drawn

    def _climbed(self, model: "ArchitectureModel") -> list[Proposal]:
        """New architectures uphill of the best, shortest steps first, until there are enough for a batch."""
        best = sorted(self._known, key=lambda known: -known.score)[: self._climbing.parents]
        found: dict[Hashable, Proposal] = {}
        for doubling in range(self._climbing.longest):
            step = self._climbing.step * 2**doubling
            written = model.uphill([parent.entries for parent in best], step, self._slots.legal)
            for parent, uphill in zip(best, self._slots.genomes(written), strict=True):
                genome = self._space.fit(uphill)
                key = self._space.key(genome)
                if key not in self._seen:
                    found.setdefault(key, Proposal(genome, parent=parent.trial, origin=Origin.PREDICTED))
            if len(found) >= self._climbing.batch:
                break
        return list(found.values())


class SlotCoder:
    """Translates genomes to slots of a vocabulary, and back."""

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        self._vocabulary = TokenVocabulary(space)
        self.count = self._vocabulary.count
        self._tokens: dict[tuple[int, ...], Genome] = {(): ()}

    def of(self, genome: Genome) -> list[int]:
        """The slot of each token."""
        return [self._vocabulary.of(position, [token])[0] for position, token in enumerate(genome)]

    def legal(self, written: Sequence[int]) -> list[int]:
        """The slots of the legal next tokens; those unknown to the vocabulary only if no legal token is known."""
        prefix = self._tokens[tuple(written)]
        found: dict[int, Token] = {}
        for token in self._space.choices(prefix):
            found.setdefault(self._vocabulary.of(len(prefix), [token])[0], token)
        if len(found) > 1:
            found.pop(UNKNOWN, None)
        for slot, token in found.items():
            self._tokens[(*written, slot)] = (*prefix, token)
        return list(found)

    def genomes(self, written: Sequence[Sequence[int]]) -> list[Genome]:
        """The genomes of slots that `legal` gave one after the other."""
        found = [self._tokens[tuple(slots)] for slots in written]
        self._tokens = {(): ()}
        return found

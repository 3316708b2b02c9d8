"""Shared weights that are split: for each choice at one position a network of all architectures that have it. Imports
torch.

Source: Zhao et al., "Few-shot Neural Architecture Search", ICML 2021 (arXiv 2006.06863), section 3.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from torch import Tensor, nn

from nasrun.checkpoints.store import load_weights
from nasrun.core import Genome, Token
from nasrun.spaces.mixture import Mixture, mixture_of
from nasrun.training.supernet.trainer import WEIGHT

BRANCH = "branches."
"""What the names of weights begin with."""


class SplitNetwork(nn.Module):
    """A network of all architectures for each of the `choices` at a `position` of the genome; called like one of them,
    it has an architecture computed by the one that it belongs to."""

    def __init__(self, position: int, choices: Sequence[Token], make: Callable[[], nn.Module]) -> None:
        super().__init__()
        self._position, self._choices = position, tuple(choices)
        self.branches = nn.ModuleList([make() for _ in choices])

    def forward(self, images: Tensor, architecture: Genome | Mixture) -> Tensor:
        """Logits of images under one architecture."""
        term = next(mixture_of(architecture).at(self._position))
        result: Tensor = self.branches[self._choices.index(term.token)](images, architecture)
        return result

    def names(self, genome: Genome) -> Callable[[str], str]:
        """From the name of a weight of one network to that in the branch of an architecture."""
        branch = self._choices.index(genome[self._position])
        return lambda name: f"{BRANCH}{branch}.{name}"


def whole_name(name: str) -> str:
    """From the name of a weight of any branch to that in one network."""
    return name.removeprefix(BRANCH).partition(".")[2] if name.startswith(BRANCH) else name


def is_split(path: Path) -> bool:
    """Whether a file of shared weights holds those of a `SplitNetwork`."""
    return any(name.startswith(WEIGHT + BRANCH) for name in load_weights(path))

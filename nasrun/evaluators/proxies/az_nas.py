"""The three scores of AZ-NAS that look at a network, block by block; the fourth is its FLOPs. Imports torch.

Source: Lee and Ham, "AZ-NAS: Assembling Zero-Cost Proxies for Network Architecture Search", CVPR 2024 (arXiv
2403.19232), section 3.2; what the paper leaves open is as in the authors' code. How the ranks of the four are combined:
`nasrun.evaluators.proxies.reference`. The features of a block are those of `blocks_of`; other than in the paper,
initial weights are the search space's own.
"""

from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional

from nasrun.evaluators.proxies.passes import Probe

EPSILON = 1e-8


def expressivity(probe: Probe) -> float:
    """How evenly features are spread over the directions that they may have: the sum over the blocks of the entropy of
    the eigenvalues of their covariance, scaled to a sum of 1 (equations 1 to 3)."""
    return sum(_entropies(probe))


def progressivity(probe: Probe) -> float:
    """The least rise of that entropy from a block to the next (equation 4)."""
    entropies = _entropies(probe)
    return min((after - before for before, after in pairwise(entropies)), default=0.0)


def trainability(probe: Probe) -> float:
    """How far gradients keep their size from block to block: the mean over the blocks of 2 - s - 1 / s, s the spectral
    norm of the matrix by which random signs behind a block and the gradient before it are related (equations 5 to 8).

    A block whose gradient is that of its output, such as a skip connection, or is none, counts as s = 0; for that the
    paper has minus infinity, here it is about minus a million.
    """
    features = probe.forward.features
    scores = [_passing(before, after, probe.generator) for before, after in pairwise(features)]
    return sum(scores) / len(scores) if scores else 0.0


def _entropies(probe: Probe) -> list[float]:
    return [_entropy(_rows(features.detach())) for features in probe.forward.features]


def _entropy(rows: Tensor) -> float:
    """Of the eigenvalues of the covariance of features (samples, channels); 0 where nothing varies."""
    rows = rows - rows.mean(0, keepdim=True)
    values = torch.linalg.eigvalsh((rows.T @ rows).double() / len(rows)).clamp(min=0)
    total = values.sum()
    shares = values / total if total > 0 else values
    return -float((shares * (shares + EPSILON).log()).sum())


def _passing(before: Tensor, after: Tensor, generator: torch.Generator) -> float:
    """2 - s - 1 / s of one block."""
    signs = torch.randint(0, 2, after.shape, generator=generator).to(after) * 2 - 1
    gradient = torch.zeros_like(before)
    if before.requires_grad and after.requires_grad:  # the output of a cell that passes nothing on is a constant
        [gradient] = torch.autograd.grad(after, before, signs, retain_graph=True, materialize_grads=True)
    norm = 0.0
    if gradient.shape != signs.shape or not torch.equal(gradient, signs):
        if gradient.ndim == 4 and signs.ndim == 4:
            gradient = _folded(gradient, signs.shape[2:])
        if len(_rows(gradient)) == len(_rows(signs)):
            related = _rows(gradient).T @ _rows(signs) / len(_rows(signs))
            norm = float(torch.linalg.svdvals(related.double()).max())
    return 2 - norm - 1 / (norm + 1e-6)


def _folded(gradient: Tensor, size: torch.Size) -> Tensor:
    """A gradient (batch, C, H, W) at the resolution of the block's output: neighbouring pixels as channels."""
    stride = max(-(-gradient.shape[2] // size[0]), -(-gradient.shape[3] // size[1]))
    missing = [stride * size[1] - gradient.shape[3], stride * size[0] - gradient.shape[2]]
    padded = functional.pad(gradient, (0, missing[0], 0, missing[1]))
    return functional.pixel_unshuffle(padded, stride) if stride > 1 else padded


def _rows(features: Tensor) -> Tensor:
    """Features (batch, channels, ...) as (samples, channels)."""
    return features.movedim(1, -1).reshape(-1, features.shape[1])

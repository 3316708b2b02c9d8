"""Scores of one untrained network, each from a paper; of all of them more is better. Imports torch."""

import math
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor

from nasrun.evaluators.proxies import az_nas
from nasrun.evaluators.proxies.passes import Probe

LEAST_EIGENVALUE = 1e-3
"""Of a kernel of whole numbers: below that it is zero, but for rounding."""


def naswot(probe: Probe) -> float:
    """How differently the network's units take the images of a batch: log |K|, where K[i, j] counts the units that are
    above zero for both images i and j, or for neither.

    Source: Mellor, Turner, Storkey and Crowley, "Neural Architecture Search without Training", ICML 2021 (arXiv
    2006.04647), section 3, equation 2. As in the authors' code, what leads to no output does not count; units of
    activations other than relu count by the sign of their input, and an eigenvalue of K that is zero as 0.001.
    """
    outputs, codes = probe.forward.outputs, probe.forward.codes
    kernel = torch.zeros(len(outputs), len(outputs), dtype=torch.float64)
    for code in codes:
        bits = code.float()  # sums of zeros and ones are exact, in whatever order
        above = bits.sum(1)
        alike = bits.shape[1] - above[:, None] - above[None, :] + 2 * (bits @ bits.T)
        kernel += alike.double().cpu()
    return float(torch.linalg.eigvalsh(kernel).clamp(min=LEAST_EIGENVALUE).log().sum())


def jacob_cov(probe: Probe) -> float:
    """How little the gradients by the images of a batch are correlated: -sum(log(v + k) + 1 / (v + k)) over the
    eigenvalues v of their correlation matrix, k = 1e-5.

    Source: Mellor et al., "Neural Architecture Search without Training", first version (arXiv 2006.04647v1), section 4;
    Abdelfattah, Mehrotra, Dudziak and Lane, "Zero-Cost Proxies for Lightweight NAS", ICLR 2021 (arXiv 2101.08134),
    section 3.2. Images on which the outputs do not depend count as correlated with all others.
    """
    outputs = probe.forward.outputs
    [gradients] = torch.autograd.grad(outputs.sum(), probe.forward.images, retain_graph=True, materialize_grads=True)
    rows = gradients.flatten(1).double().cpu()
    rows = rows - rows.mean(1, keepdim=True)
    lengths = rows.norm(dim=1)
    correlations = (rows @ rows.T) / (lengths[:, None] * lengths[None, :])
    values = torch.linalg.eigvalsh(torch.where(correlations.isfinite(), correlations, 1.0)).clamp(min=0) + 1e-5
    return -float((values.log() + 1 / values).sum())


def synflow(probe: Probe) -> float:
    """How much flows through the network: log(1 + sum |w dR/dw|), R the sum of the outputs for an image of ones, with
    absolute weights and without batch normalisation.

    Source: Tanaka, Kunin, Yamins and Ganguli, "Pruning neural networks without any data by iteratively conserving
    synaptic flow", NeurIPS 2020 (arXiv 2006.05467), section 6; as a score of networks Abdelfattah et al. 2021 (arXiv
    2101.08134), section 3.2. The logarithm changes no order. Nothing of it depends on data.
    """
    weights, gradients = probe.linear()
    return math.log1p(_sum((weight * gradient).abs() for weight, gradient in zip(weights, gradients, strict=True)))


def snip(probe: Probe) -> float:
    """How much the loss of a batch depends on single weights: the sum of |w dL/dw|.

    Source: Lee, Ajanthan and Torr, "SNIP: Single-shot Network Pruning based on Connection Sensitivity", ICLR 2019
    (arXiv 1810.02340), section 4.1; as a score of networks Abdelfattah et al. 2021 (arXiv 2101.08134), section 3.2.
    """
    pairs = zip(probe.weights, probe.gradients, strict=True)
    return _sum((weight.detach() * gradient).abs() for weight, gradient in pairs)


def grad_norm(probe: Probe) -> float:
    """The sum over the layers of the Euclidean norm of the gradient of a batch's loss.

    Source: Abdelfattah et al. 2021 (arXiv 2101.08134), section 3.1.
    """
    return sum(float(gradient.double().norm()) for gradient in probe.gradients)


def zico(probe: Probe) -> float:
    """How large gradients are beside their spread over two batches: the sum over the layers of
    log sum(mean |g| / std g), over the weights whose gradient differs between the batches.

    Source: Li, Yang, Bhardwaj and Marculescu, "ZiCo: Zero-shot NAS via Inverse Coefficient of Variation on Gradients",
    ICLR 2023 (arXiv 2301.11300), section 3.3; the deviation is that of g itself, as in the authors' code. Layers
    without such a weight count for nothing.
    """
    total = 0.0
    for one, other in zip(probe.gradients, probe.other_gradients, strict=True):
        one, other = one.double(), other.double()
        deviation = (one - other).abs() / 2
        varies = deviation > 0
        ratios = float(((one.abs() + other.abs())[varies] / 2 / deviation[varies]).sum())
        total += math.log(ratios) if ratios > 0 else 0.0
    return total


SCORES: Mapping[str, Callable[[Probe], float]] = {
    "naswot": naswot,
    "jacob_cov": jacob_cov,
    "synflow": synflow,
    "snip": snip,
    "grad_norm": grad_norm,
    "zico": zico,
    "expressivity": az_nas.expressivity,
    "progressivity": az_nas.progressivity,
    "trainability": az_nas.trainability,
}
"""All of them by name."""


def _sum(parts: Iterable[Tensor]) -> float:
    return sum(float(part.detach().double().sum()) for part in parts)

"""An ensemble of small networks that predicts scores; all networks are trained at once, in batched products.

This module imports torch, so import it only when there is something to predict.
"""

from itertools import pairwise

import numpy as np
import torch
from torch.nn import functional as F

from nasrun.hardware.devices import single_thread
from nasrun.strategies.predictor.settings import EnsembleSettings


def ensemble_predictions(
    known: np.ndarray,
    targets: np.ndarray,
    wanted: np.ndarray,
    seed: int,
    settings: EnsembleSettings,
) -> np.ndarray:
    """Train an ensemble from new weights and predict with it: (settings.networks, len(wanted)).

    `known`: encodings (rows, entries) with their `targets` (rows), which should be of mean 0 and standard deviation
    about 1. `wanted`: encodings (rows, entries). Each network is a perceptron of `layers` hidden layers with ReLU and
    its own initial weights (He et al. 2015). It takes `steps` steps of Adam on the squared error of batches of its own,
    drawn with replacement. Everything random follows from `seed`. Computed in one thread, so that results do not depend
    on the number of cores.
    """
    networks = settings.networks
    generator = torch.Generator().manual_seed(seed)
    inputs, values = torch.from_numpy(known).float(), torch.from_numpy(targets).float()
    sizes = [inputs.shape[1], *[settings.hidden] * settings.layers, 1]
    weights = []
    for fan_in, fan_out in pairwise(sizes):
        scale = (2 / fan_in) ** 0.5
        weights.append(torch.randn(networks, fan_in, fan_out, generator=generator) * scale)
        weights.append(torch.zeros(networks, 1, fan_out))
    with single_thread(), torch.enable_grad():
        for weight in weights:
            weight.requires_grad_()
        optimizer = torch.optim.Adam(weights, lr=settings.lr, fused=True)
        for _ in range(settings.steps):
            picks = torch.randint(len(inputs), (networks, settings.batch_size), generator=generator)
            errors = _forward(weights, inputs[picks]) - values[picks]
            # The sum over the networks keeps their gradients independent.
            gradients = torch.autograd.grad(errors.square().mean(1).sum(), weights)
            for weight, gradient in zip(weights, gradients, strict=True):
                weight.grad = gradient
            optimizer.step()
    with single_thread(), torch.inference_mode():
        rows = torch.from_numpy(wanted).float().expand(networks, -1, -1)
        return np.asarray(_forward(weights, rows).double().numpy())


def _forward(weights: list[torch.Tensor], inputs: torch.Tensor) -> torch.Tensor:
    """Predictions (networks, rows) of inputs (networks, rows, entries)."""
    activations = inputs
    for place in range(0, len(weights), 2):
        activations = F.relu(activations) if place else activations
        activations = torch.baddbmm(weights[place + 1], activations, weights[place])
    return activations[:, :, 0]

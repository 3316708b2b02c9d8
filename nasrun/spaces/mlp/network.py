"""The torch module of a dense network. Only `build` imports this module, because it imports torch."""

from collections.abc import Sequence

from torch import nn

from nasrun.spaces.layers import ACTIVATIONS


def dense_network(
    inputs: int, widths: Sequence[int], activation: str, *, dropout: float, outputs: int, last_linear: bool = False
) -> nn.Sequential:
    """Flatten; per hidden layer Linear, activation and, if `dropout` is above 0, Dropout; a Linear output layer. With
    `last_linear` the last hidden layer is only Linear.

    Input float (batch, ...) with `inputs` numbers per example, output (batch, outputs). Initial weights as in Keras,
    which the accuracies of the ASNN paper come from: Glorot uniform (Glorot and Bengio 2010, "Understanding the
    difficulty of training deep feedforward neural networks", equation 16), from torch's global generator; biases 0.
    """
    parts: list[nn.Module] = [nn.Flatten()]
    for layer, width in enumerate(widths, start=1):
        parts.append(_linear(inputs, width))
        if layer < len(widths) or not last_linear:
            parts.append(ACTIVATIONS[activation]())
            if dropout > 0:
                parts.append(nn.Dropout(dropout))
        inputs = width
    return nn.Sequential(*parts, _linear(inputs, outputs))


def _linear(inputs: int, outputs: int) -> nn.Linear:
    layer = nn.Linear(inputs, outputs)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer

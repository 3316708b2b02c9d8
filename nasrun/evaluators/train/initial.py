"""`evaluator.init`: the network of a finished run, with whose weights networks begin. torch is imported to load it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nasrun.checkpoints.store import inherit, load_weights
from nasrun.checkpoints.winner import winner_of
from nasrun.core import SearchSpace
from nasrun.core.options import ConfigError, error_line
from nasrun.datasets import Splits

if TYPE_CHECKING:
    import torch


class InitialWeights:
    """Weights that are copied into new networks wherever name and shape are the same.

    `same_classes`: whether the network names the classes of the data; else the last layer, which tells them apart, is
    left as it was made.
    """

    def __init__(self, weights: "Mapping[str, torch.Tensor]", *, same_classes: bool) -> None:
        self._weights, self._same_classes = weights, same_classes

    def give(self, network: "torch.nn.Module") -> int:
        """Copy what fits into a network; returns how many tensors did."""
        weights = dict(self._weights)
        if not self._same_classes:
            head = head_of(network)
            weights = {name: tensor for name, tensor in weights.items() if name.rpartition(".")[0] != head}
        return inherit(network, weights)


def head_of(network: "torch.nn.Module") -> str:
    """The name of the module that holds the last parameter of a network: the layer that gives its outputs."""
    last = ""
    for name, _ in network.named_parameters():
        last = name
    return last.rpartition(".")[0]


def load_initial(
    directory: str, space: SearchSpace, splits: Splits, recorded: Mapping[str, Any] | None = None
) -> tuple[InitialWeights, dict[str, Any]]:
    """The weights of the network that a finished run came to, and a record of which one it is.

    `space`: that of the networks which begin with them. `recorded`: the record of an interrupted run, whose weights
    they must be. ConfigError where there is no such network, or nothing of it can fit.
    """
    try:
        path, about, record = winner_of(directory, recorded)
        theirs, ours = (str((section or {}).get("_target_")) for section in (about.section, space.section))
        if theirs != ours:
            names = [target.rpartition(".")[2] for target in (theirs, ours)]
            raise ValueError(f"its network is of {names[0]}, of which nothing fits into networks of {names[1]}")
        return InitialWeights(load_weights(path), same_classes=tuple(about.classes) == splits.classes), record
    except Exception as error:  # readers raise many kinds on damaged files
        raise ConfigError(f"evaluator.init={directory}: {error_line(error, 300)}") from error

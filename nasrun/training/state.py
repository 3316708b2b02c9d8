"""What a training run remembers beside the weights that are measured, to continue as if it had not been interrupted.

All of it is tensors by name, for an archive: the optimizer's (`nasrun.training.optimizer_state`), and, with names that
no parameter has, the weights that are trained where those that are measured are means over them, the loss scale of
fp16, and where the streams of random numbers are.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

from nasrun.training.optimizer_state import read_state, restore_state

if TYPE_CHECKING:
    from nasrun.training.single import Stepper

State = Mapping[str, torch.Tensor]

LEARNED, SCALE, STREAM, SEED = "@learned/", "@scale/", "@stream/", "@seed"
GLOBAL, GLOBAL_CUDA = "global", "cuda"


def read_training(
    trained: torch.nn.Module, stepper: "Stepper", streams: Mapping[str, torch.Generator], seed: int, averaged: bool
) -> dict[str, torch.Tensor]:
    """The state of a training run of `trained`. `averaged`: the weights that are measured are others, means over these.

    `streams`: the generators that it draws from beside torch's global ones; `seed`: what all of them follow from.
    """
    found = read_state(trained, stepper.optimizer)
    if averaged:
        found |= {LEARNED + name: tensor.detach().cpu().clone() for name, tensor in trained.state_dict().items()}
    for name, value in stepper.scaler.state_dict().items():
        found[SCALE + name] = torch.tensor(value, dtype=torch.float64)
    found |= {STREAM + name: generator.get_state() for name, generator in streams.items()}
    found[STREAM + GLOBAL] = torch.get_rng_state()
    if next(trained.parameters()).is_cuda:
        found[STREAM + GLOBAL_CUDA] = torch.cuda.get_rng_state()
    found[SEED] = torch.tensor(seed)
    return found


def restore_training(
    state: State, trained: torch.nn.Module, stepper: "Stepper", streams: Mapping[str, torch.Generator], seed: int
) -> None:
    """Continue from what `read_training` gave of a training run with an optimizer of the same kind.

    The streams continue where they were if they follow from the same seed; a training run with another one has its own.
    """
    restore_state(
        trained, stepper.optimizer, {name: tensor for name, tensor in state.items() if not name.startswith("@")}
    )
    learned = {name.removeprefix(LEARNED): tensor for name, tensor in state.items() if name.startswith(LEARNED)}
    if learned:
        trained.load_state_dict(learned)
    scale = stepper.scaler.state_dict()
    if scale and SCALE + next(iter(scale)) in state:
        stepper.scaler.load_state_dict({name: type(old)(state[SCALE + name].item()) for name, old in scale.items()})
    if SEED not in state or int(state[SEED]) != seed:
        return
    for name, generator in streams.items():
        generator.set_state(state[STREAM + name])
    torch.set_rng_state(state[STREAM + GLOBAL])
    if STREAM + GLOBAL_CUDA in state and next(trained.parameters()).is_cuda:
        torch.cuda.set_rng_state(state[STREAM + GLOBAL_CUDA])


def without_weights(state: State) -> dict[str, torch.Tensor]:
    """The state without the weights that are trained: for a training run that continues with other weights."""
    return {name: tensor for name, tensor in state.items() if not name.startswith(LEARNED)}

"""What an optimizer remembers, as tensors by name, so that a training run can continue where another one ended.

Adam and AdamW: steps and both moments; SGD: momentum; Adadelta: steps and both averages.
"""

from collections.abc import Mapping

import torch


def read_state(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """The state of every parameter, as `<parameter>/<what>`."""
    found = {}
    for name, parameter in model.named_parameters():
        for key, value in optimizer.state.get(parameter, {}).items():
            if isinstance(value, torch.Tensor):
                found[f"{name}/{key}"] = value.detach().cpu().clone()
    return found


def restore_state(model: torch.nn.Module, optimizer: torch.optim.Optimizer, state: Mapping[str, torch.Tensor]) -> None:
    """Put in what `read_state` gave of an optimizer of the same kind over the same parameters."""
    parameters = dict(model.named_parameters())
    for entry, value in state.items():
        name, _, key = entry.rpartition("/")
        parameter = parameters[name]
        # In the layout of the parameter (channels_last), which the fused kernels take for granted.
        if value.shape == parameter.shape:
            optimizer.state[parameter][key] = torch.empty_like(parameter, requires_grad=False).copy_(value)
        else:
            on_device = parameter.device if key == "step" and _fused(optimizer) else "cpu"
            optimizer.state[parameter][key] = value.clone().to(on_device)


def _fused(optimizer: torch.optim.Optimizer) -> bool:
    return bool(optimizer.defaults.get("fused"))

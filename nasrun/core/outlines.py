"""Networks with shapes but without values. Imported only where needed, because it imports torch."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode


@contextmanager
def outlined() -> Iterator[None]:
    """Build modules on torch's device `meta` in a scope; torch's global generator is not changed."""
    with torch.random.fork_rng([]), torch.device("meta"), _NothingToDraw():
        yield


class _NothingToDraw(TorchFunctionMode):
    """Skips initialisation, which `meta` tensors do not need: for normal values torch 2.13 imports its compiler, which
    takes two seconds."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is torch.Tensor.normal_ or getattr(func, "__module__", None) == torch.nn.init.__name__:
            tensor = args[0] if args else (kwargs or {})["tensor"]
            if tensor.is_meta:
                return tensor
        return func(*args, **(kwargs or {}))

"""Networks that have shapes and no values. Imported where they are built, because it imports torch."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode


@contextmanager
def outlined() -> Iterator[None]:
    """Modules built within have tensors of torch's device `meta`; torch's generator stays as it is."""
    with torch.random.fork_rng([]), torch.device("meta"), _NothingToDraw():
        yield


class _NothingToDraw(TorchFunctionMode):
    """Passes over initial values, which `meta` tensors do not have: for normal ones torch 2.13 imports its compiler,
    which takes two seconds."""

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

"""Which library multiplies the matrices of networks that train together on the CPU: torch's default, or oneDNN.

torch hands fp32 products to oneDNN where it may use bf16 for them (`torch.backends.mkldnn.matmul.fp32_precision`). A
processor without bf16 matrix units computes them in fp32 all the same, some of them about twice as fast as by the
default library. So the error is measured, once, on products of the kind that training makes. A timing would choose
better now and then, but not the same way twice.
"""

import contextlib
from collections.abc import Iterator
from typing import Literal, NamedTuple

import torch

from nasrun.core.environment import describe_environment

EXACT = 1e-6
"""Relative error of a product in fp32, with room: 3e-7 to 4e-7 was measured."""


class Products(NamedTuple):
    """The library, in torch's word the backend, and why. Of one network alone it is always the default: calls of oneDNN
    cost more there than they save."""

    backend: Literal["default", "onednn"]
    reason: str

    @contextlib.contextmanager
    def scope(self, networks: int) -> Iterator[None]:
        """Use the library for the products of so many networks; the setting is as before afterwards."""
        setting = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
        before = setting.fp32_precision
        if self.backend == "onednn" and networks > 1:
            setting.fp32_precision = "bf16"
        try:
            yield
        finally:
            setting.fp32_precision = before


def choose_products(device: str) -> Products:
    """The library for this machine: by the error of its products and the maker of the processor, never by a timing."""
    if device != "cpu":
        return Products("default", f"products are {device}'s own")
    if not torch.backends.mkldnn.is_available():
        return Products("default", "torch was built without oneDNN")
    error = product_error(Products("onednn", ""))
    if error > EXACT:
        return Products("default", f"oneDNN's quick products are off by {error:.0e} on this processor")
    if "intel" in describe_environment()["processor"].lower():
        return Products("default", f"oneDNN's products are exact ({error:.0e}) but slower on Intel processors")
    return Products("onednn", f"its products are exact on this processor ({error:.0e})")


def product_error(products: Products) -> float:
    """Largest relative error (Frobenius norm) of the three products of a training step, against those in fp64."""
    generator = torch.Generator().manual_seed(0)
    inputs, weights, errors = (
        torch.randn(shape, generator=generator) for shape in ((4, 32, 256), (4, 256, 128), (4, 32, 128))
    )
    pairs = [(inputs, weights), (inputs.transpose(1, 2), errors), (errors, weights.transpose(1, 2))]
    with products.scope(2):
        found = [torch.bmm(*pair) for pair in pairs]
    exact = [torch.bmm(first.double(), second.double()) for first, second in pairs]
    return max(float((ours - true).norm() / true.norm()) for ours, true in zip(found, exact, strict=True))
